#!/usr/bin/env bash
# Line coverage of the CUDA kernels: the op tests and the golden models on the emulated device, kernels compiled with
# counters.
#   launch/coverage.sh [LEAST]    status 1 when less than LEAST % (95) of the lines of the .cu and .cuh files ran
# Writes build/release/coverage/lines.txt: a line for each file, with the lines that did not run.
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/environment.sh
least=${1:-95}
command -v gcovr >/dev/null || { echo "coverage: gcovr is missing (launch/setup.sh --coverage)" >&2; exit 2; }

folder=build/release/coverage
cmake --preset release >/dev/null
cmake --build --preset release --target emulation_coverage_plugin test_backend test_golden | tail -n 1
find build/release -path '*emulation_coverage*' -name '*.gcda' -delete
export PLUMB_TEST_BACKENDS=cuda-emulated PLUMB_PLUGIN_DIR=$PWD/$folder OMP_NUM_THREADS=1
for program in backend/test_backend golden/test_golden; do
  echo "coverage: $program"
  build/release/tests/$program --gtest_brief=1 2>&1 | grep -v '^plumb: attention' || exit 1
done
# From the build folder: with ccache's base_dir the sources' names are relative to it.
cd build/release
gcovr --root ../.. --object-directory . --filter '(.*/)?framework/backends/cuda/.*\.cuh?$' --exclude-throw-branches \
  --txt coverage/lines.txt --fail-under-line "$least" --print-summary tests/emulation/CMakeFiles/emulation_coverage_kernels.dir
tail -n 4 coverage/lines.txt
