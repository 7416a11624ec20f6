#!/usr/bin/env bash
# Mutation tests: changes the CUDA kernels and the gradient reducer, one small fault at a time, and looks whether the
# tests on the emulated device notice.
#   launch/mutation.sh                     goes on for up to 450 s; run it again until it says that it is finished
#   launch/mutation.sh --sample SECONDS    as many mutants as fit into that time, from the start
#   launch/mutation.sh --list | --help     the mutants; all options
# Status 0: none survived but those of tests/emulation/mutation/equivalent.txt; 1: some did; 3: not finished.
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/environment.sh

command -v python3 >/dev/null || { echo "mutation: python3 is missing (apt install python3)" >&2; exit 2; }
case " $* " in
  *" --list "* | *" --help "* | *" -h "*) ;;
  *)
    echo "mutation: building (build/release and build/sanitize)"
    cmake --preset sanitize >/dev/null
    cmake --build --preset sanitize --target plumb_cuda_emulated test_backend | tail -n 1
    cmake --preset release >/dev/null
    cmake --build --preset release --target plumb_cuda_emulated test_backend emulation_races test_comm test_comm_2_ranks |
      tail -n 1
    ;;
esac
exec python3 tests/emulation/mutation/mutate.py "$@"
