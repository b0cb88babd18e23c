#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs a rank that may share its GPU with the others: NCCL takes them for different hosts, and
# connects them by sockets. Right, but slow: for tests, never for measurements.
#
#   mpirun -np 2 one_gpu_rank.sh PROGRAM [ARGUMENTS]
export NCCL_HOSTID="rank${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-0}}"
export NCCL_SOCKET_IFNAME=lo NCCL_MNNVL_ENABLE=0 NCCL_NET=Socket NCCL_ALGO=Ring
exec "$@"
