#!/bin/sh
# What ssh is between hosts: enter_host.sh HOST COMMAND ... runs the command in a shell on a host of hosts.sh.
host=$1
shift
exec nsenter -t "$(cat "$PLUMB_TEST_HOSTS/$host.pid")" --mount --net --uts sh -c "$*"
