#!/bin/sh
# Two hosts on one machine: two_hosts.sh FOLDER COMMAND [ARGUMENTS ...]; see hosts.sh.
exec "$(dirname "$0")/hosts.sh" 2 "$@"
