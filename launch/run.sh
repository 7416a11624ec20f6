#!/usr/bin/env bash
# Trains on this host: launch/run.sh RANKS CONFIG.toml [options of `plumb train` ...]
# Every rank gets an equal share of the cores. Build first (launch/quickstart.sh does, or cmake --preset release).
set -euo pipefail
if [ $# -lt 2 ]; then
  sed -n '2,3s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/launch/environment.sh"
ranks=$1
shift
set_mpirun "$ranks"
exec "${mpirun_command[@]}" "$here/build/release/trainers/plumb" train "$@"
