#!/usr/bin/env bash
# Hosts on one machine: hosts.sh NUMBER FOLDER COMMAND [ARGUMENTS ...]
# Runs COMMAND on "host-a". The hosts (2 to 8: host-a, host-b, ...) have a network (two are joined by a virtual cable, more by
# a switch; 10.77.0.1, 10.77.0.2, ... on the interface "cable"), a host name and a file system of their own: FOLDER/work is
# FOLDER/host-a on one, FOLDER/host-b on the next. mpirun reaches the others with enter_host.sh in the place of ssh. With
# PLUMB_HOSTS_RATE=1gbit, say, that is what each of them can send (tc, a token bucket).
# Status 77, with the reason, where namespaces are not to be had. Everything ends with this process.
set -euo pipefail

tests=$(cd "$(dirname "$0")" && pwd)

if [ "${1:-}" != --inside ]; then
  number=$1
  folder=$2
  case "$number" in
    [2-8]) ;;
    *) echo "hosts.sh: $number is not a number of hosts from 2 to 8" >&2; exit 2 ;;
  esac
  [ "$(id -u)" = 0 ] && user=() || user=(--user --map-root-user)
  missing() {
    echo "hosts.sh: no hosts here: $*"
    exit 77
  }
  command -v ip >/dev/null || missing "there is no ip (package iproute2)"
  command -v nsenter >/dev/null || missing "there is no nsenter (package util-linux)"
  reason=$(unshare "${user[@]}" --mount --net --uts --pid --fork --mount-proc \
    ip link add test-a type veth peer name test-b 2>&1) || missing "namespaces are not allowed: $reason"
  mkdir -p "$folder/work"
  exec unshare "${user[@]}" --mount --net --uts --pid --fork --kill-child --mount-proc \
    bash "$0" --inside "$@"
fi

shift
letters=(a b c d e f g h)
names=()
for ((i = 0; i < $1; ++i)); do names+=("host-${letters[i]}"); done
folder=$2
shift 2
echo '127.0.0.1 localhost' >"$folder/hosts"
for i in "${!names[@]}"; do echo "10.77.0.$((i + 1)) ${names[i]}" >>"$folder/hosts"; done
mount --bind "$folder/hosts" /etc/hosts

# start_host NAME: a process that holds the namespaces of a host; its number is in FOLDER/NAME.pid.
start_host() {
  mkdir -p "$folder/$1"
  unshare --mount --net --uts sh -c "hostname $1 && mount --bind '$folder/$1' '$folder/work' &&
    touch '$folder/$1.ready' && exec sleep infinity" &
  echo $! >"$folder/$1.pid"
  for _ in $(seq 100); do
    [ -e "$folder/$1.ready" ] && return
    sleep 0.05
  done
  echo "hosts.sh: $1 did not start"
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
  if [ -n "${PLUMB_HOSTS_RATE:-}" ]; then
    # With a larger bucket small sums pass at once, and no line fits a measured fabric; with this one timers may
    # hold a cable well below its rate.
    nsenter -t "$pid" --net tc qdisc add dev cable root tbf rate "$PLUMB_HOSTS_RATE" burst 16kb latency 100ms
  fi
}

rm -f "$folder"/*.ready
for name in "${names[@]}"; do start_host "$name"; done
if [ "${#names[@]}" = 2 ]; then
  ip link add end-0 type veth peer name end-1
else
  ip link add switch type bridge
  ip link set switch up
  for i in "${!names[@]}"; do
    ip link add "end-$i" type veth peer name "port-$i"
    ip link set "port-$i" master switch up
  done
fi
for i in "${!names[@]}"; do connect "${names[i]}" "end-$i" "10.77.0.$((i + 1))"; done

export PLUMB_TEST_HOSTS=$folder
export OMPI_MCA_plm_rsh_agent=$tests/enter_host.sh
"$tests/enter_host.sh" host-a "cd '$folder/work' && $(printf '%q ' "$@")"
