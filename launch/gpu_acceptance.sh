#!/usr/bin/env bash
# What to run on a machine with GPUs, with one command, in under ten minutes (the build not counted):
#   launch/gpu_acceptance.sh [--build-dir DIR] [--output DIR] [--device cuda]
# Op tests against the reference backend, whole models against the golden files, training on the GPU against the
# reference, NCCL over all local GPUs, memory against the plan, throughput and the cost of statistics, the time of every
# kernel against its roofline. Writes DIR/acceptance.md and DIR/*.json (DIR: build/gpu-acceptance).
# --build-dir: a build made elsewhere, e.g. with -DPLUMB_WITH_MPI=OFF -DPLUMB_WITH_ONEDNN=OFF and the shared libraries
# that this machine lacks in DIR/lib. Without it the script builds into build/release.
# --device cuda-emulated tries the script itself where no GPU is; its times mean nothing.
set -uo pipefail
cd "$(dirname "$0")/.."
. launch/environment.sh

build=""
output=build/gpu-acceptance
device=cuda
while [ $# -gt 0 ]; do
  case "$1" in
    --build-dir) build=$2; shift 2 ;;
    --output) output=$2; shift 2 ;;
    --device) device=$2; shift 2 ;;
    *) sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
done
if [ -z "$build" ]; then
  build=build/release
  cmake --preset release >/dev/null && cmake --build --preset release || exit 1
fi
export LD_LIBRARY_PATH="$PWD/$build/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export PLUMB_PLUGIN_DIR="$PWD/$build/lib"
plumb=$build/trainers/plumb
mkdir -p "$output"
report=$output/acceptance.md
status=0

if [ "$device" = cuda ]; then
  reason=$("$plumb" doctor 2>/dev/null | sed -n 's/^\(note\|FIX \)  GPU  *//p' | head -1)
  if ! "$plumb" doctor 2>/dev/null | grep -q '^ok .* backend cuda '; then
    echo "skipped: ${reason:-device = \"cuda\" cannot be had here}"
    exit 0
  fi
fi

{
  echo "# GPU acceptance: device \"$device\""
  echo
  echo "Plumb $("$plumb" --version | head -1)"
  echo
  echo '```'
  "$plumb" doctor 2>/dev/null | grep -i 'gpu\|cuda\|driver\|cublas\|cudnn\|nccl\|nvlink\|infiniband'
  echo '```'
  echo
  echo "| what | result | seconds |"
  echo "|---|---|---|"
} >"$report"

# check NAME COMMAND...: one row of the report; the output of the command, a program that has four minutes or a function,
# goes to its own file.
check() {
  local name=$1 start=$SECONDS verdict=passed log
  shift
  log=$output/$(echo "$name" | tr ' /' '__').log
  local limit=(timeout 240)
  if [ "$(type -t "$1")" = function ]; then limit=(); fi
  if ! "${limit[@]}" "$@" >"$log" 2>&1; then
    verdict="FAILED, see $(basename "$log")"
    status=1
  fi
  local tests
  tests=$(sed -n 's/^\[  PASSED  \] \(.*\)\.$/\1/p' "$log" | tail -1)
  echo "| $name | $verdict${tests:+ ($tests)} | $((SECONDS - start)) |" >>"$report"
  echo "gpu: $name: $verdict${tests:+ ($tests)}"
}

# op_tests: the op tests in parts side by side, since the float64 reference takes longer than the device.
op_tests() {
  local parts job jobs=() passed=0 failed=0
  parts=$(nproc)
  if [ "$parts" -gt 8 ]; then parts=8; fi
  for ((part = 0; part < parts; ++part)); do
    GTEST_TOTAL_SHARDS=$parts GTEST_SHARD_INDEX=$part OMP_NUM_THREADS=1 \
      timeout 240 "$build/tests/backend/test_backend" --gtest_brief=1 >"$output/op_tests.$part.log" 2>&1 &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job" || failed=1; done
  for ((part = 0; part < parts; ++part)); do
    cat "$output/op_tests.$part.log"
    passed=$((passed + $(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$output/op_tests.$part.log")))
    rm "$output/op_tests.$part.log"
  done
  echo "[  PASSED  ] $passed tests."
  return "$failed"
}

export PLUMB_TEST_BACKENDS=$device
check "op tests" op_tests
check "golden models" "$build/tests/golden/test_golden" --gtest_brief=1
check "training equals reference" "$build/tests/gpu/test_gpu_training" --gtest_brief=1
if [ -x "$build/tests/comm/test_comm_device" ] && command -v mpirun >/dev/null; then
  gpus=$(nvidia-smi -L 2>/dev/null | wc -l)
  if [ "$device" != cuda ]; then gpus=2; fi
  check "NCCL over $gpus rank(s)" mpirun -np "$gpus" --oversubscribe "$build/tests/comm/test_comm_device" --gtest_brief=1
else
  echo "| NCCL over several GPUs | not run: this build or this machine has no MPI | - |" >>"$report"
fi

echo >>"$report"
echo "## Training: memory, throughput, cost of statistics" >>"$report"
echo >>"$report"
small=()
if [ "$device" != cuda ]; then small=(--small); fi
if "$build/tests/gpu/training_speed" --device "$device" "${small[@]}" --json "$output/training.json" >"$output/training.md" 2>"$output/training.err"; then
  cat "$output/training.md" >>"$report"
else
  status=1
  echo "FAILED: $(cat "$output/training.err")" >>"$report"
fi

echo >>"$report"
echo "## Kernels against their roofline" >>"$report"
echo >>"$report"
kernels=("$build/tests/gpu/kernel_times" --device "$device" --json "$output/kernels.json")
if [ "$device" != cuda ]; then kernels=("$build/tests/gpu/kernel_times" --predict); fi
if "${kernels[@]}" >"$output/kernels.md" 2>"$output/kernels.err"; then
  cat "$output/kernels.md" >>"$report"
else
  status=1
  echo "FAILED: $(cat "$output/kernels.err")" >>"$report"
fi
echo "gpu: report in $report"
exit $status
