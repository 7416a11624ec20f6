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
plumb_mpirun 2 "$plumb" train configs/quickstart.toml --set run.dir="'$run'" --set run.overwrite=true "$@"

echo
"$plumb" data describe data/sample/train.bin data/sample/validation.bin
cat <<MESSAGE

The run is in $run:
  metrics.jsonl      one line per step: loss, learning rate, gradient norm, tokens/s; validation at a cadence
  stability.jsonl    depth profiles of stream, branch and gradient, and per-tensor rows, gathered across ranks
  ranks.jsonl        what each rank saw before reduction        (docs/metrics.md explains every field)
  checkpoints/       more steps: launch/run.sh 2 configs/quickstart.toml --set training.steps=24000 --resume auto
Text from the model: $plumb generate $run --prompt 'In the beginning '
MESSAGE
