#!/usr/bin/env bash
# Trains every preset of configs/presets/ for some steps and prints a table: the loss at the start, the mean of the
# last 20 steps, and whether that is below the unigram entropy of the text (what a model that knows nothing but how
# often each byte occurs would reach).
#   launch/presets.sh [STEPS] [PRESET ...]      200 steps and all presets where nothing is given
# Ends with status 1 if a preset ends above it or with a value that is not finite.
set -euo pipefail
cd "$(dirname "$0")/.."
. launch/environment.sh

steps=${1:-200}
shift || true
plumb=build/release/trainers/plumb
[ -x "$plumb" ] || { echo "presets: $plumb is missing; build it with launch/test.sh or cmake --build --preset release"; exit 2; }
if [ ! -s data/sample/train.bin ]; then
  text=data/king-james.txt
  [ -s "$text" ] || { text=data/synthetic.txt; "$plumb" data synthesize --output "$text" --bytes 4400000; }
  "$plumb" data prepare "$text" --output data/sample
fi
bits=$("$plumb" data describe data/sample/train.bin data/sample/validation.bin |
  sed -n 's/^train .* \([0-9.]*\) bits per token.*/\1/p')
limit=$(awk -v bits="$bits" 'BEGIN { print bits * log(2) }')

[ $# -gt 0 ] || set -- $(basename -s .toml configs/presets/*.toml)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
printf 'unigram entropy %.4f nats per byte; %d steps of every preset\n' "$limit" "$steps"
printf '%-26s %10s %10s  %s\n' preset 'first loss' 'last 20' ''
status=0
for preset in "$@"; do
  if ! "$plumb" train "configs/presets/$preset.toml" --set run.dir="'$folder/run'" --set run.overwrite=true \
    --set training.steps="$steps" --set compute.threads=1 --set validation.at_end=false --set checkpoint.at_end=false >"$folder/log" 2>&1; then
    printf '%-26s failed: %s\n' "$preset" "$(tail -n 1 "$folder/log")"
    status=1
    continue
  fi
  sed -n 's/.*"loss":\([^,]*\),.*/\1/p' "$folder/run/metrics.jsonl" | awk -v limit="$limit" -v preset="$preset" '
    NR == 1 { first = $1 }
    { loss[NR] = $1; if ($1 == "null") broken = 1 }
    END {
      count = NR < 20 ? NR : 20
      for (i = NR - count + 1; i <= NR; ++i) sum += loss[i]
      last = sum / count
      verdict = broken ? "NOT FINITE" : last < limit ? "below" : "ABOVE"
      printf "%-26s %10.4f %10.4f  %s\n", preset, first, last, verdict
      exit verdict != "below"
    }' || status=1
done
exit $status
