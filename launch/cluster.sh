#!/usr/bin/env bash
# Trains on the GPUs of several hosts: launch/cluster.sh HOSTFILE GPUS_PER_HOST CONFIG.toml [options of `plumb train` ...]
# HOSTFILE has one host name a line, as mpirun reads it; one rank is one GPU. Every host needs this folder at the same
# path, and ssh without a password from here. Written from the manuals of Open MPI and NCCL; never run on GPUs.
set -euo pipefail
if [ $# -lt 3 ]; then
  sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
here=$(cd "$(dirname "$0")/.." && pwd)
. "$here/launch/environment.sh"
hostfile=$1
gpus=$2
shift 2
[ -r "$hostfile" ] || { echo "cluster: $hostfile cannot be read; expected one host name a line" >&2; exit 2; }
case "$gpus" in
  '' | *[!0-9]* | 0) echo "cluster: '$gpus' GPUs per host is not a number of 1 or more" >&2; exit 2 ;;
esac
hosts=$(grep -cv '^[[:space:]]*\(#\|$\)' "$hostfile" || true)
[ "$hosts" -gt 0 ] || { echo "cluster: $hostfile names no host" >&2; exit 2; }

# Binding: a rank and the threads of NCCL stay on the socket whose PCIe lanes its GPU hangs on, as far as the order of
# GPUs follows that of sockets (`nvidia-smi topo -m` tells).
# NCCL_SOCKET_IFNAME, NCCL_IB_HCA: which interfaces NCCL uses; set them where a host has several networks.
# NCCL_DEBUG=WARN: errors of NCCL with their reason; INFO shows rings and transports.
# UCX_TLS: Open MPI carries only start-up and small statistics; when UCX is its transport, rc,sm,self keeps it off
# the GPU memory that it need not touch.
export NCCL_DEBUG=${NCCL_DEBUG:-WARN}
pass=(-x NCCL_DEBUG)
for name in NCCL_SOCKET_IFNAME NCCL_IB_HCA NCCL_IB_DISABLE NCCL_P2P_DISABLE NCCL_NET_GDR_LEVEL UCX_TLS UCX_NET_DEVICES \
  LD_LIBRARY_PATH CUDA_VISIBLE_DEVICES; do
  if [ -n "${!name:-}" ]; then pass+=(-x "$name"); fi
done
run_and_forward mpirun -np $((hosts * gpus)) --hostfile "$hostfile" --map-by "ppr:$gpus:node" --bind-to socket \
  --mca odls_base_sigkill_timeout 10 "${pass[@]}" \
  "$here/build/release/trainers/plumb" train "$@" --set 'device="cuda"'
