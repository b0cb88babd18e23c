#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# on_hosts.sh RANKS_PER_HOST PROGRAM [ARGUMENTS]: runs a rank that believes it is on one of several
# hosts. mpirun's several programs on one line, which would do the same, crash in Debian 13's.
set -eu
per_host=$1
shift
RINGLEADER_HOST_ID=host$((OMPI_COMM_WORLD_RANK / per_host))
export RINGLEADER_HOST_ID
exec "$@"
