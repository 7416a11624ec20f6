#!/usr/bin/env bash
# From a fresh clone to a trained deep Transformer: installs what is missing, builds the program, prepares the
# sample text and trains configs/quickstart.toml on two ranks. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

launch/setup.sh
. launch/environment.sh

echo "quickstart: building the program (build/release)"
cmake --preset release >build-configure.log 2>&1 || { cat build-configure.log; exit 1; }
sed -n '/^-- Plumb /,/backends:/p' build-configure.log
rm -f build-configure.log
cmake --build --preset release --target plumb
plumb=build/release/trainers/plumb

if [ -s data/king-james.txt ]; then
  text=data/king-james.txt
else
  echo "quickstart: no sample text here, going on with the built-in synthetic language"
  text=data/synthetic.txt
  [ -s "$text" ] || "$plumb" data synthesize --output "$text" --bytes 4400000
fi
"$plumb" data prepare "$text" --output data/sample

run=runs/quickstart
if [ -e "$run" ]; then
  kept="$run-$(date -r "$run" +%Y%m%d-%H%M%S)"
  mv "$run" "$kept"
  echo "quickstart: an earlier run is kept as $kept"
fi
set_mpirun 2
started=$SECONDS
run_and_forward "${mpirun_command[@]}" "$plumb" train configs/quickstart.toml --set run.dir="'$run'" "$@"
seconds=$((SECONDS - started))

# The result beside what Markov models reach on the same split.
description=$("$plumb" data describe data/sample/train.bin data/sample/validation.bin)
bits=$(sed -n 's/.*"val_bits_per_byte":\([0-9.eE+-]*\).*/\1/p' "$run/metrics.jsonl" | tail -n 1)
steps=$(sed -n 's/^{"step":\([0-9]*\).*/\1/p' "$run/metrics.jsonl" | tail -n 1)
echo
echo "bits per byte over the whole validation split"
sed -n 's/^ *order \([0-9]*\) *\([0-9.]*\)/  Markov model of order \1   \2/p' <<<"$description"
printf '  this model, %6d steps  %.3f   (%d:%02d on 2 ranks)\n' "$steps" "${bits:-nan}" $((seconds / 60)) $((seconds % 60))
cat <<MESSAGE

The run is in $run:
  metrics.jsonl      one line per step: loss, learning rate, gradient norm, tokens/s; validation at a cadence
  stability.jsonl    depth profiles of stream, branch and gradient, and per-tensor rows, gathered across ranks
  ranks.jsonl        what each rank saw before reduction        (docs/metrics.md explains every field)
  checkpoints/       the model and everything needed to go on from it
Text from the model:  $plumb generate $run --prompt 'In the beginning '
A longer run:         launch/run.sh 2 configs/king-james.toml
MESSAGE
