#!/usr/bin/env bash
# Trains on the hosts of a hostfile: launch/hosts.sh HOSTFILE CONFIG.toml [options of `plumb train` ...]
# A line of the hostfile is "NAME slots=RANKS". The program must lie at the same path on all hosts; the configuration
# and the run folder are rank 0's, so the first host's. docs/cluster.md has the rest. From the environment:
#   PLUMB_INTERFACE=eth1       the network that ranks talk over (MPI, and NCCL unless NCCL_SOCKET_IFNAME is set)
#   PLUMB_CORES_PER_RANK=8     binds each rank to so many cores; without it ranks of a host share its cores evenly
#   PLUMB_PROGRAM=/opt/plumb   another program than build/release/trainers/plumb of this folder
# and every NCCL_* variable is passed on to all ranks.
set -euo pipefail
if [ $# -lt 2 ]; then
  sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/launch/environment.sh"
hostfile=$1
shift

command=(mpirun --hostfile "$hostfile" --mca odls_base_sigkill_timeout 10)
if [ -n "${PLUMB_CORES_PER_RANK:-}" ]; then
  command+=(--map-by "slot:PE=$PLUMB_CORES_PER_RANK")
else
  command+=(--bind-to none)
fi
if [ -n "${PLUMB_INTERFACE:-}" ]; then
  command+=(--mca btl_tcp_if_include "$PLUMB_INTERFACE" --mca oob_tcp_if_include "$PLUMB_INTERFACE")
  export NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-$PLUMB_INTERFACE}
fi
for variable in $(compgen -e | grep '^NCCL_' || true); do
  command+=(-x "$variable")
done
run_and_forward "${command[@]}" "${PLUMB_PROGRAM:-$here/build/release/trainers/plumb}" train "$@"
