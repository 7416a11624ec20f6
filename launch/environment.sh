# Sourced by the other scripts: what every mpirun of ours needs. Not meant to be run.

# mpirun refuses to run as root unless told twice.
if [ "$(id -u)" = 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  echo "launch: running as root, so OMPI_ALLOW_RUN_AS_ROOT=1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 are set for mpirun"
fi

# set_mpirun RANKS: puts the beginning of a command line into the array mpirun_command. Every rank gets an equal share
# of this host's cores (not of its hardware threads) and is bound to it; where mpirun cannot do that (fewer cores than
# ranks, restricted containers) ranks share what is there. On SIGTERM mpirun waits for odls_base_sigkill_timeout before
# it passes the signal on, and as long again before it kills (seen with Open MPI 4.1.4): 10 s let a run save its
# checkpoint and stay within a batch system's patience. SIGUSR1 is passed on at once.
set_mpirun() {
  local ranks=$1 cores
  cores=$(lscpu -p=SOCKET,CORE 2>/dev/null | grep -v '^#' | sort -u | wc -l)
  local placement=(--map-by "slot:PE=$((cores / ranks))")
  if [ "$cores" -lt "$ranks" ] || ! mpirun -np "$ranks" "${placement[@]}" true >/dev/null 2>&1; then
    placement=(--oversubscribe --bind-to none)
  fi
  mpirun_command=(mpirun -np "$ranks" "${placement[@]}" --mca odls_base_sigkill_timeout 10)
}

# set_passed_on: puts the options of mpirun into the array passed_on that give all ranks the variables of NCCL and UCX and the
# library path as they are here.
set_passed_on() {
  local variable
  passed_on=()
  for variable in $(compgen -e | grep -E '^(NCCL_|UCX_)|^LD_LIBRARY_PATH$'); do
    passed_on+=(-x "$variable")
  done
}

# run_and_forward COMMAND...: runs it and passes SIGTERM, SIGINT and SIGUSR1 on to it; its status is ours. It has a process
# group of its own: a signal to all of ours (timeout, a batch system, Ctrl-C) would otherwise reach mpirun twice, and at the
# second it kills the ranks before they have saved.
run_and_forward() {
  local job status=0
  set -m
  "$@" </dev/null &
  job=$!
  set +m
  trap 'kill -TERM "$job"' TERM
  trap 'kill -INT "$job"' INT
  trap 'kill -USR1 "$job"' USR1
  wait "$job" || status=$?
  # A wait that a signal ended says nothing of the job.
  while kill -0 "$job" 2>/dev/null; do
    status=0
    wait "$job" || status=$?
  done
  trap - TERM INT USR1
  return "$status"
}
