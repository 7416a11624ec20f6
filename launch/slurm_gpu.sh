#!/usr/bin/env bash
# A batch job on GPUs: sbatch --nodes=N --gpus-per-node=M --ntasks-per-node=M launch/slurm_gpu.sh CONFIG.toml [options ...]
# One task is one rank is one GPU. As launch/slurm.sh: SIGUSR1 before the time limit saves, --resume auto goes on.
# Do not add --gpus-per-task or --gpu-bind: either may show each task one GPU only, which works, but keeps NCCL from
# using NVLink between them on older drivers. Written from the manuals of Slurm, Open MPI and NCCL; never run.
#SBATCH --job-name=plumb
#SBATCH --signal=B:USR1@120
#SBATCH --exclusive
set -euo pipefail
if [ $# -lt 1 ]; then
  sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
# Slurm runs a copy of this script, so the repository is the folder that the job was submitted from.
here=${SLURM_SUBMIT_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
if [ ! -f "$here/launch/environment.sh" ]; then
  echo "slurm_gpu: $here is not the repository: submit from its top folder" >&2
  exit 2
fi
. "$here/launch/environment.sh"
case " $* " in
  *" --resume "*) ;;
  *) set -- "$@" --resume auto ;;
esac
export NCCL_DEBUG=${NCCL_DEBUG:-WARN}  # NCCL_SOCKET_IFNAME, NCCL_IB_HCA and the like: see docs/cluster.md
set_passed_on
run_and_forward mpirun --map-by "ppr:${SLURM_NTASKS_PER_NODE:-1}:node" --bind-to socket \
  --mca odls_base_sigkill_timeout 10 "${passed_on[@]}" "$here/build/release/trainers/plumb" train "$@" --set 'device="cuda"'
