#!/usr/bin/env bash
# Plants every fault of docs/alarms.md on one of four ranks, on 5 seeds, and trains 500 clean steps on 5 seeds: each
# fault must be named in time, and clean runs must have no event about a rank. Half an hour on two cores that others use as well.
#   launch/rank_faults.sh             builds what it needs and runs
#   launch/rank_faults.sh --loaded    the same while two processes of this script keep the cores busy
set -euo pipefail
cd "$(dirname "$0")/.."
loaded=0
case "${1:-}" in
  "") ;;
  --loaded) loaded=1 ;;
  *) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac

. launch/environment.sh
cmake --preset release >/dev/null
cmake --build --preset release --target test_distributed_rank_faults

busy=()
trap 'for job in "${busy[@]}"; do kill "$job"; done' EXIT
if [ "$loaded" = 1 ]; then
  for _ in 1 2; do
    (while :; do :; done) &
    busy+=($!)
  done
fi
PLUMB_FAULT_SEEDS=5 PLUMB_CLEAN_STEPS=500 build/release/tests/distributed/test_distributed_rank_faults
