#!/usr/bin/env bash
# Builds what the tests need and runs them.
#   launch/test.sh          setup, build, the fast tests
#   launch/test.sh --all    also the style check, the slower tests, the emulated GPU, the tests of backends, modules,
#                           optimisers and communication and half of those of the emulated GPU under sanitizers, and
#                           two minutes of mutation tests; left out, and printed with their commands: the labels
#                           long, emulation-full and gpu
#   launch/test.sh --sanitize   all fast tests and those of the emulated GPU under sanitizers
# Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

all=0
case "${1:-}" in
  "") ;;
  --all) all=1 ;;
  --sanitize) all=sanitize ;;
  *) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac

launch/setup.sh
. launch/environment.sh

# sanitized <targets to build> <arguments of ctest>
sanitized() {
  echo "test: configuring and building under address and undefined-behaviour sanitizers (build/sanitize)"
  # Where a function's status is asked for, "set -e" does not hold inside it.
  # shellcheck disable=SC2086
  cmake --preset sanitize && cmake --build --preset sanitize --target $1 || return 1
  shift
  export LSAN_OPTIONS="suppressions=$PWD/tests/sanitizer/leaks.txt:print_suppressions=0"
  # The leak check guesses where glibc keeps thread-local memory of libraries, and died of a wrong guess.
  export ASAN_OPTIONS=intercept_tls_get_addr=0
  export UBSAN_OPTIONS=print_stacktrace=1
  ctest --preset sanitize "$@" -j2
}

if [ "$all" = sanitize ]; then
  sanitized "fast_tests test_golden test_gpu_training plumb_cuda_emulated" -R "^emulated_(golden|training|ops_forward)" || exit 1
  exec ctest --preset sanitize -L fast -j2
fi

echo "test: configuring and building (build/release)"
cmake --preset release
if [ "$all" = 0 ]; then
  cmake --build --preset release --target fast_tests
  ctest --preset release -L fast -j2
  exit 0
fi
cmake --build --preset release

echo "test: style"
git ls-files '*.h' '*.cpp' '*.cu' '*.cuh' | xargs clang-format --dry-run -Werror
echo "test: style is clean"

skipped='^(long|emulation-full|gpu)$'
status=0
ctest --preset release -LE "$skipped" -j2 || status=1

# What has memory of its own to get wrong, without the trainer, whose build takes as long again.
watched='core|config|data|nn|optim|comm|comm_2_ranks|comm_3_ranks|comm_two_hosts_3_ranks|backend|emulated_device|emulated_host'
sanitized "test_core test_config test_data test_nn test_optim test_comm test_comm_2_ranks test_backend test_golden
  test_gpu_training test_emulated_device test_emulated_host plumb_cuda_emulated" -R "^($watched|emulated_golden|emulated_training|emulated_ops_forward_[01])\$" || status=1

launch/mutation.sh --sample 120 || status=1

for label in long emulation-full gpu; do
  echo "test: not run: label $label (ctest --preset release -L $label)"
done
echo "test: not run: the other fast tests under sanitizers (launch/test.sh --sanitize)"
exit $status
