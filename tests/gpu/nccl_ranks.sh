#!/usr/bin/env bash
# The collectives and the reducer over a rank for each GPU of this machine: nccl_ranks.sh BUILD [DEVICE]
# Status 77, with the reason in the last line, where that cannot be. DEVICE "cuda-emulated": two ranks.
build=$1
device=${2:-cuda}

skip() {
  echo "skipped: $1"
  exit 77
}
program=$build/tests/comm/test_comm_device
[ -x "$program" ] || skip "this build has no MPI"
command -v mpirun >/dev/null || skip "there is no mpirun"
ranks=2
if [ "$device" = cuda ]; then
  ranks=$("$build/trainers/plumb" doctor --gpus) || skip "\`plumb doctor --gpus\` does not tell how many GPUs there are"
  [ "$ranks" -gt 0 ] 2>/dev/null || skip "there is no GPU"
fi
echo "nccl: $ranks rank(s)"
PLUMB_TEST_BACKENDS=$device exec mpirun -np "$ranks" --oversubscribe "$program" --gtest_brief=1 --gtest_color=no
