#!/usr/bin/env bash
# Trains on the hosts of a hostfile: launch/hosts.sh HOSTFILE CONFIG.toml [options of `plumb train` ...]
# A line of the hostfile is "NAME slots=RANKS". The program must lie at the same path on all hosts; the configuration
# and the run folder are rank 0's, so the first host's. docs/cluster.md has the rest. From the environment:
#   PLUMB_GPUS_PER_HOST=8      one rank for each of so many GPUs of every host, with device = "cuda"
#   PLUMB_INTERFACE=eth1       the network that ranks talk over (MPI, and NCCL unless NCCL_SOCKET_IFNAME is set)
#   PLUMB_CORES_PER_RANK=8     binds each rank to so many cores; without it ranks of a host share its cores evenly
#   PLUMB_PROGRAM=/opt/plumb   another program than build/release/trainers/plumb of this folder
# and every NCCL_* and UCX_* variable, CUDA_VISIBLE_DEVICES and LD_LIBRARY_PATH are passed on to all ranks.
set -euo pipefail
if [ $# -lt 2 ]; then
  sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/launch/environment.sh"
hostfile=$1
shift
[ -r "$hostfile" ] || { echo "hosts: $hostfile cannot be read; expected lines of NAME slots=RANKS" >&2; exit 2; }
cores=${PLUMB_CORES_PER_RANK:-}
gpus=${PLUMB_GPUS_PER_HOST:-}

command=(mpirun --hostfile "$hostfile" --mca odls_base_sigkill_timeout 10)
if [ -n "$gpus" ]; then
  case "$gpus" in
    *[!0-9]* | 0) echo "hosts: PLUMB_GPUS_PER_HOST=$gpus is not a number of 1 or more" >&2; exit 2 ;;
  esac
  command+=(--map-by "ppr:$gpus:node${cores:+:PE=$cores}")
  # Without a number of cores a rank and NCCL's threads stay on one socket: that of its GPU, as far as the order of GPUs
  # follows that of sockets (`nvidia-smi topo -m` tells).
  if [ -z "$cores" ]; then command+=(--bind-to socket); fi
  case " $* " in
    *" device="* | *" device ="*) ;;
    *) set -- "$@" --set 'device="cuda"' ;;
  esac
  export NCCL_DEBUG=${NCCL_DEBUG:-WARN}
elif [ -n "$cores" ]; then
  command+=(--map-by "slot:PE=$cores")
else
  command+=(--bind-to none)
fi
if [ -n "${PLUMB_INTERFACE:-}" ]; then
  command+=(--mca btl_tcp_if_include "$PLUMB_INTERFACE" --mca oob_tcp_if_include "$PLUMB_INTERFACE")
  export NCCL_SOCKET_IFNAME=${NCCL_SOCKET_IFNAME:-$PLUMB_INTERFACE}
fi
set_passed_on
if [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then passed_on+=(-x CUDA_VISIBLE_DEVICES); fi
run_and_forward "${command[@]}" "${passed_on[@]}" "${PLUMB_PROGRAM:-$here/build/release/trainers/plumb}" train "$@"
