#!/usr/bin/env bash
# A batch job of any number of nodes: sbatch --nodes=N --ntasks-per-node=M launch/slurm.sh CONFIG.toml [options ...]
# One task is one rank. Slurm sends SIGUSR1 two minutes before the time limit: the run then saves a checkpoint and
# ends, and the same line with --resume auto goes on from there. (A job that is started again after it logged steps
# but before its first checkpoint is refused: set checkpoint.every, or add --set run.overwrite=true.)
# Uses mpirun within the allocation. Written from the manuals of Slurm and Open MPI; it has not been run on a cluster.
#SBATCH --job-name=plumb
#SBATCH --signal=B:USR1@120
set -euo pipefail
if [ $# -lt 1 ]; then
  sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
# Slurm runs a copy of this script, so the repository is the folder that the job was submitted from.
here=${SLURM_SUBMIT_DIR:-$(cd "$(dirname "$0")/.." && pwd)}
if [ ! -f "$here/launch/environment.sh" ]; then
  echo "slurm.sh: $here is not the repository: submit from its top folder" >&2
  exit 2
fi
. "$here/launch/environment.sh"
case " $* " in
  *" --resume "*) ;;
  *) set -- "$@" --resume auto ;;
esac
cores=${SLURM_CPUS_PER_TASK:-1}
run_and_forward mpirun --map-by "slot:PE=$cores" --mca odls_base_sigkill_timeout 10 \
  "$here/build/release/trainers/plumb" train "$@"
