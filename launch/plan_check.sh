#!/usr/bin/env bash
# Predicted and measured step times side by side: launch/plan_check.sh [--hosts 2] [--rate 2gbit] [--shapes c,a]
#   [--variants plain,bf16,sharded] [--steps 8]
# The hosts are network namespaces of this machine (tests/cluster/hosts.sh), one rank and one thread on each, each sending at
# most --rate. On them `plumb doctor --bandwidth` measures the fabric; then for every shape (those of docs/performance.md) and
# variant `plumb plan` predicts a step, and a run makes --steps of them, of which the median is taken from its trace. For the
# idle machine with a core per host; with more hosts than cores the times mean nothing, and it only compares the losses with
# those of one rank.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/launch/environment.sh"
program=${PLUMB_PROGRAM:-$here/build/release/trainers/plumb}

if [ "${1:-}" != --on-first-host ]; then
  hosts=2 rate=2gbit shapes=c,a variants=plain,bf16,sharded steps=8
  while [ $# -gt 0 ]; do
    case "$1" in
      --hosts | --rate | --shapes | --variants | --steps)
        [ $# -gt 1 ] || { echo "plan_check: $1 needs a value" >&2; exit 2; }
        declare "${1#--}=$2"
        shift 2
        ;;
      *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
  done
  [ -x "$program" ] || { echo "plan_check: $program is not built: cmake --build --preset release --target plumb" >&2; exit 2; }
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  echo "load $(cut -d' ' -f1-3 /proc/loadavg), $(nproc) cores; $hosts hosts that send at most $rate each"
  PLUMB_HOSTS_RATE=$rate "$here/tests/cluster/hosts.sh" "$hosts" "$folder" \
    "$here/launch/plan_check.sh" --on-first-host "$hosts" "$shapes" "$variants" "$steps"
  exit
fi

hosts=$2 shapes=$3 variants=$4 steps=$5
letters=(a b c d e f g h)
for ((i = 0; i < hosts; ++i)); do echo "host-${letters[i]} slots=1"; done >hosts.txt
# Hosts of one machine do not know of each other, so each rank is given a core here.
cores=$(nproc)
on_hosts() {
  mpirun --hostfile hosts.txt -np "$hosts" --bind-to none --mca btl_tcp_if_include cable --mca oob_tcp_if_include cable \
    sh -c 'exec taskset -c $((OMPI_COMM_WORLD_RANK % '"$cores"')) "$@"' rank "$program" "$@"
}

# settings SHAPE VARIANT: words for --set.
settings() {
  local size
  case "$1" in
    a) size="model.blocks=6 model.width=384 model.heads=6 model.sequence_length=256 training.sequences_per_step=$((8 * hosts))" ;;
    b) size="model.blocks=12 model.width=768 model.heads=12 model.sequence_length=256 model.vocabulary=50257 training.sequences_per_step=$((4 * hosts))" ;;
    c) size="model.blocks=48 model.width=128 model.heads=4 model.sequence_length=128 training.sequences_per_step=$((8 * hosts))" ;;
    tiny) size="model.blocks=2 model.width=64 model.heads=2 model.sequence_length=32 training.sequences_per_step=$((4 * hosts))" ;;
    *) echo "plan_check: no shape '$1'; known: a, b, c, tiny" >&2; exit 2 ;;
  esac
  case "$2" in
    plain) ;;
    bf16) size+=" communication.gradient_dtype=bf16" ;;
    sharded) size+=" optimizer.sharded=true" ;;
    *) echo "plan_check: no variant '$2'; known: plain, bf16, sharded" >&2; exit 2 ;;
  esac
  echo "$size device=cpu compute.threads=1 compute.dtype=fp32 data.kind=markov model.placement=pre validation.at_end=false" \
    "checkpoint.at_end=false training.steps=$((steps + 2)) learning_rate.warmup_steps=0"
}

measure() {
  local shape=$1 variant=$2 words
  read -ra words <<<"$(settings "$shape" "$variant")"
  on_hosts plan /dev/null --set "${words[@]}" --fabric fabric.json --ranks "$hosts" --ranks-per-host 1 --steps "$steps" --json >plan.json
  on_hosts train /dev/null --set "${words[@]}" "run.dir=run-$shape-$variant" run.overwrite=true "--trace=3-$((steps + 2))" >train.log
  python3 - "$shape" "$variant" "run-$shape-$variant/trace.json" <<'PYTHON'
import json, statistics, sys
shape, variant, trace = sys.argv[1:]
row = json.load(open("plan.json"))["worlds"][0]
events = json.load(open(trace))
events = events["traceEvents"] if isinstance(events, dict) else events
first = min(event["pid"] for event in events if event.get("name") == "step")
begins = sorted(event["ts"] for event in events if event.get("name") == "step" and event["pid"] == first)
seconds = [(later - earlier) / 1e6 for earlier, later in zip(begins, begins[1:])]
step, measured = row["step"], statistics.median(seconds)
print(f"| {shape} | {variant} | {1e3 * step['seconds']:.1f} | {1e3 * step['computing_seconds']:.1f} | {1e3 * step['exposed_seconds']:.1f} "
      f"| {1e3 * step['waiting_seconds']:.1f} | {1e3 * measured:.1f} ({1e3 * min(seconds):.1f} to {1e3 * max(seconds):.1f}) "
      f"| {100 * (step['seconds'] / measured - 1):+.1f} % |", flush=True)
PYTHON
}

# The losses of the hosts are those of one rank with the same batch.
compare_losses() {
  local words
  read -ra words <<<"$(settings tiny "$1")"
  on_hosts train /dev/null --set "${words[@]}" "run.dir=many-$1" >train.log
  "$program" train /dev/null --set "${words[@]}" "run.dir=one-$1" >train.log
  python3 - "$1" "$hosts" <<'PYTHON'
import json, sys
variant, hosts = sys.argv[1:]
def losses(run):
    return [json.loads(line)["loss"] for line in open(f"{run}-{variant}/metrics.jsonl") if '"loss"' in line]
many, one = losses("many"), losses("one")
worst = max(abs(a / b - 1) for a, b in zip(many, one))
print(f"{variant}: losses of {hosts} hosts within {worst:.1e} of one rank's over {len(one)} steps")
sys.exit(0 if len(many) == len(one) > 0 and worst < (1e-3 if variant == "bf16" else 1e-5) else 1)
PYTHON
}

IFS=, read -ra shape_list <<<"$shapes"
IFS=, read -ra variant_list <<<"$variants"
if [ "$hosts" -gt "$cores" ]; then
  echo "more hosts than cores: no times"
  for variant in "${variant_list[@]}"; do compare_losses "$variant"; done
  exit
fi
on_hosts doctor --bandwidth --device cpu --threads 1 --output fabric.json
echo "| shape | variant | predicted ms | computing | exposed | waiting | measured ms, median (least to most) | error |"
echo "|---|---|---|---|---|---|---|---|"
for shape in "${shape_list[@]}"; do
  for variant in "${variant_list[@]}"; do measure "$shape" "$variant"; done
done
