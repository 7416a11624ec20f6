#!/usr/bin/env bash
# Builds everything and runs the tests.
#   launch/test.sh          setup, build, the fast tests
#   launch/test.sh --all    also the style check, the slower tests, the emulated GPU, the fast tests and half of those of
#                           the emulated GPU under sanitizers, and two minutes of mutation tests;
#                           left out: the labels long, emulation-full and gpu (printed with their commands)
# Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

all=0
case "${1:-}" in
  "") ;;
  --all) all=1 ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac

launch/setup.sh
. launch/environment.sh

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

echo "test: configuring and building under address and undefined-behaviour sanitizers (build/sanitize)"
cmake --preset sanitize
cmake --build --preset sanitize --target fast_tests test_golden test_gpu_training
export LSAN_OPTIONS="suppressions=$PWD/tests/sanitizer/leaks.txt:print_suppressions=0"
# The leak check guesses where glibc keeps thread-local memory of libraries, and died of a wrong guess.
export ASAN_OPTIONS=intercept_tls_get_addr=0
export UBSAN_OPTIONS=print_stacktrace=1
ctest --preset sanitize -L fast -j2 || status=1
ctest --preset sanitize -R '^(emulated_ops_forward_[01]|emulated_golden|emulated_training)$' -j2 || status=1

launch/mutation.sh --sample 120 || status=1

for label in long emulation-full gpu; do
  echo "test: not run: label $label (ctest --preset release -L $label)"
done
exit $status
