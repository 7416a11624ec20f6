#!/usr/bin/env bash
# Two hosts on one machine: two_hosts.sh FOLDER COMMAND [ARGUMENTS ...]
# Runs COMMAND on "host-a". "host-a" and "host-b" have a network (joined by a virtual cable, 10.77.0.1 and 10.77.0.2 on
# the interface "cable"), a host name and a file system of their own: FOLDER/work is FOLDER/host-a on one and
# FOLDER/host-b on the other. mpirun reaches host-b with enter_host.sh in the place of ssh.
# Status 77, with the reason, where namespaces are not to be had. Everything ends with this process.
set -euo pipefail

tests=$(cd "$(dirname "$0")" && pwd)

if [ "${1:-}" != --inside ]; then
  folder=$1
  [ "$(id -u)" = 0 ] && user=() || user=(--user --map-root-user)
  missing() {
    echo "two_hosts.sh: no two hosts here: $*"
    exit 77
  }
  command -v ip >/dev/null || missing "there is no ip (package iproute2)"
  command -v nsenter >/dev/null || missing "there is no nsenter (package util-linux)"
  reason=$(unshare "${user[@]}" --mount --net --uts --pid --fork --mount-proc \
    ip link add test-a type veth peer name test-b 2>&1) || missing "namespaces are not allowed: $reason"
  mkdir -p "$folder/work" "$folder/host-a" "$folder/host-b"
  exec unshare "${user[@]}" --mount --net --uts --pid --fork --kill-child --mount-proc \
    bash "$0" --inside "$@"
fi

shift
folder=$1
shift
printf '127.0.0.1 localhost\n10.77.0.1 host-a\n10.77.0.2 host-b\n' >"$folder/hosts"
mount --bind "$folder/hosts" /etc/hosts

# start_host NAME: a process that holds the namespaces of a host; its number is in FOLDER/NAME.pid.
start_host() {
  unshare --mount --net --uts sh -c "hostname $1 && mount --bind '$folder/$1' '$folder/work' &&
    touch '$folder/$1.ready' && exec sleep infinity" &
  echo $! >"$folder/$1.pid"
  for _ in $(seq 100); do
    [ -e "$folder/$1.ready" ] && return
    sleep 0.05
  done
  echo "two_hosts.sh: $1 did not start"
  exit 1
}

# connect NAME INTERFACE ADDRESS
connect() {
  local pid
  pid=$(cat "$folder/$1.pid")
  ip link set "$2" netns "$pid"
  nsenter -t "$pid" --net ip link set "$2" name cable
  nsenter -t "$pid" --net ip address add "$3/24" dev cable
  nsenter -t "$pid" --net ip link set cable up
  nsenter -t "$pid" --net ip link set lo up
}

rm -f "$folder"/*.ready
start_host host-a
start_host host-b
ip link add end-a type veth peer name end-b
connect host-a end-a 10.77.0.1
connect host-b end-b 10.77.0.2

export PLUMB_TEST_HOSTS=$folder
export OMPI_MCA_plm_rsh_agent=$tests/enter_host.sh
"$tests/enter_host.sh" host-a "cd '$folder/work' && $(printf '%q ' "$@")"
