#!/usr/bin/env bash
# What to run on a machine with GPUs, with one command, in under ten minutes (the build not counted):
#   launch/gpu_acceptance.sh [--build-dir DIR] [--output DIR] [--device cuda]
# Op tests against the reference backend, whole models against the golden files, training on the GPU against the
# reference, NCCL over all local GPUs, memory against the plan, throughput and the cost of statistics, the time of every
# kernel against its roofline. Writes DIR/acceptance.md and DIR/*.json (DIR: build/gpu-acceptance).
# --build-dir: a build made elsewhere, e.g. with -DPLUMB_WITH_ONEDNN=OFF -DPLUMB_WITH_NETCDF=OFF and the shared
# libraries that this machine lacks in DIR/lib. Without it the script builds into build/release.
# --device cuda-emulated tries the script itself where no GPU is; its times mean nothing.
# Status: 0 passed, or skipped because there is no GPU; 1 something failed; 2 a wrong command line.
set -uo pipefail

# refuse STATUS TEXT: one line, and the end.
refuse() {
  echo "gpu_acceptance: $2" >&2
  exit "$1"
}

build=""
output=""
device=cuda
while [ $# -gt 0 ]; do
  case "$1" in
    --build-dir | --output | --device) [ -n "${2:-}" ] || refuse 2 "$1 needs a value" ;;
    *) sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  case "$1" in
    --build-dir) build=$(realpath -e -- "$2" 2>/dev/null) || refuse 2 "--build-dir $2: there is no such folder" ;;
    --output) output=$(realpath -m -- "$2") ;;
    --device) device=$2 ;;
  esac
  shift 2
done
case "$device" in
  cuda) plugin=libplumb_cuda.so ;;
  cuda-emulated) plugin=libplumb_cuda_emulated.so ;;
  *) refuse 2 "--device $device is unknown; there are cuda, cuda-emulated" ;;
esac
cd "$(dirname "$0")/.." || exit 1
. launch/environment.sh
output=${output:-$PWD/build/gpu-acceptance}

if [ -z "$build" ]; then
  build=$PWD/build/release
  cmake --preset release >/dev/null && cmake --build --preset release || exit 1
elif [ ! -e "$build/lib/$plugin" ]; then
  refuse 1 "$build has no lib/$plugin: it was built without the CUDA toolkit, or is no build of Plumb"
fi
export LD_LIBRARY_PATH="$build/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export PLUMB_PLUGIN_DIR="$build/lib"
plumb=$build/trainers/plumb
version=$("$plumb" --version 2>&1) || refuse 1 "$plumb cannot be run: $version"
findings=$("$plumb" doctor 2>/dev/null)

if [ "$device" = cuda ] && ! grep -q '^ok .* backend cuda ' <<<"$findings"; then
  reason=$(sed -n 's/^\(note\|FIX \)  \(backend cuda\|GPU\) *//p' <<<"$findings" | head -1)
  reason=${reason:-device = \"cuda\" cannot be had here}
  if [ "$("$plumb" doctor --gpus)" = 0 ]; then
    echo "skipped: $reason"
    exit 0
  fi
  refuse 1 "$build does not work here: $reason"
fi
mkdir -p "$output"
report=$output/acceptance.md
limit=240  # seconds of each program
status=0

{
  echo "# GPU acceptance: device \"$device\""
  echo
  echo "$version" | head -1
  if grep -q -e -dirty <<<"$version"; then
    echo
    echo "**Built from a tree with uncommitted changes**: the revision alone does not say what ran."
  fi
  echo
  echo '```'
  grep -i 'gpu\|cuda\|driver\|cublas\|cudnn\|nccl\|nvlink\|infiniband' <<<"$findings"
  echo '```'
  echo
  echo "| what | result | seconds |"
  echo "|---|---|---|"
} >"$report"

# check NAME COMMAND...: one row of the report; the output of the command, a program or a function that limits its own,
# goes to its own file. Status 77 of a command: it cannot be run, and its last line says why.
check() {
  local name=$1 start=$SECONDS verdict=passed log code=0 ranks tests counts
  shift
  log=$output/$(echo "$name" | tr ' /' '__').log
  local limited=(timeout "$limit")
  if [ "$(type -t "$1")" = function ]; then limited=(); fi
  "${limited[@]}" "$@" >"$log" 2>&1 || code=$?
  case "$code" in
    0) ;;
    77) verdict="not run: $(tail -1 "$log" | sed 's/^skipped: //')" ;;
    124) verdict="FAILED: not through after $limit seconds, see $(basename "$log")" ;;
    *) verdict="FAILED, see $(basename "$log")" ;;
  esac
  if [ "$code" != 0 ] && [ "$code" != 77 ]; then status=1; fi
  ranks=$(sed -n 's/^nccl: //p' "$log")
  tests=$(sed -n 's/^\[  PASSED  \] \(.*\)\.$/\1/p' "$log" | tail -1)
  counts=$ranks${ranks:+${tests:+, }}$tests
  echo "| $name | $verdict${counts:+ ($counts)} | $((SECONDS - start)) |" >>"$report"
  echo "gpu: $name: $verdict${counts:+ ($counts)}"
}

# measure TITLE NAME COMMAND...: a section of the report with what the command prints.
measure() {
  local title=$1 name=$2 code=0
  shift 2
  timeout "$limit" "$@" >"$output/$name.md" 2>"$output/$name.err" || code=$?
  {
    echo
    echo "## $title"
    echo
    cat "$output/$name.md"
    case "$code" in
      0) ;;
      124) echo; echo "FAILED: not through after $limit seconds" ;;
      *) echo; echo "FAILED: $(cat "$output/$name.err")" ;;
    esac
  } >>"$report"
  if [ "$code" != 0 ]; then
    status=1
    echo "gpu: $title: FAILED, see $report"
  fi
}

# op_tests: the op tests in parts side by side, since the float64 reference takes longer than the device.
op_tests() {
  local parts job jobs=() passed=0 failed=0
  parts=$(nproc)
  if [ "$parts" -gt 8 ]; then parts=8; fi
  for ((part = 0; part < parts; ++part)); do
    GTEST_TOTAL_SHARDS=$parts GTEST_SHARD_INDEX=$part OMP_NUM_THREADS=1 \
      timeout "$limit" "$build/tests/backend/test_backend" --gtest_brief=1 >"$output/op_tests.$part.log" 2>&1 &
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
check "NCCL over all local GPUs" tests/gpu/nccl_ranks.sh "$build" "$device"

small=()
kernels=(--device "$device" --json "$output/kernels.json")
if [ "$device" != cuda ]; then
  small=(--small)
  kernels=(--predict)
fi
measure "Training: memory, throughput, cost of statistics" training \
  "$build/tests/gpu/training_speed" --device "$device" "${small[@]}" --json "$output/training.json"
measure "Kernels against their roofline" kernels "$build/tests/gpu/kernel_times" "${kernels[@]}"
echo "gpu: report in $report"
exit $status
