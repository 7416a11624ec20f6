# Sourced by the other scripts: what every mpirun of ours needs. Not meant to be run.

# mpirun refuses to run as root unless told twice.
if [ "$(id -u)" = 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  echo "launch: running as root, so OMPI_ALLOW_RUN_AS_ROOT=1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 are set for mpirun"
fi

# plumb_mpirun RANKS COMMAND...: one core (or an equal share of cores) per rank. On SIGTERM mpirun passes the
# signal on and kills its children 1 s later; 30 s let a run save its checkpoint first.
plumb_mpirun() {
  local ranks=$1
  shift
  local cores
  cores=$(nproc)
  local placement=(--map-by "slot:PE=$((cores / ranks))")
  if [ "$cores" -lt "$ranks" ]; then placement=(--oversubscribe --bind-to none); fi
  mpirun -np "$ranks" "${placement[@]}" --mca odls_base_sigkill_timeout 10 "$@"
}
