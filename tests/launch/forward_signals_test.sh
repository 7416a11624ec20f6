#!/usr/bin/env bash
# run_and_forward of launch/environment.sh: a signal to the whole process group reaches the job once, and its status is ours.
set -uo pipefail
cd "$(dirname "$0")/../.."
command -v python3 >/dev/null || { echo "skipped: there is no python3"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Signals are taken one by one: a trap of the shell would see two that come together as one.
cat >"$folder/job.py" <<'JOB'
import pathlib, signal, sys
folder = pathlib.Path(sys.argv[1])
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
(folder / "ready").touch()
count = 0
while signal.sigtimedwait([signal.SIGTERM], 10 if count == 0 else 1):
    count += 1
(folder / "signals").write_text(str(count))
sys.exit(3)
JOB
cat >"$folder/script.sh" <<'SCRIPT'
. launch/environment.sh >/dev/null
run_and_forward python3 "$1/job.py" "$1"
SCRIPT

setsid bash "$folder/script.sh" "$folder" &
script=$!
for ((i = 0; i < 100; ++i)); do [ -e "$folder/ready" ] && break; sleep 0.1; done
kill -TERM -- "-$script"
wait "$script"
status=$?
signals=$(cat "$folder/signals" 2>/dev/null)
echo "status $status, signals $signals; expected 3 and 1"
[ "$status" = 3 ] && [ "$signals" = 1 ]
