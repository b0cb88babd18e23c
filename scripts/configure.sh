#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Configures build/PRESET with Open MPI, also where MPICH is what `mpicxx` and `mpirun` stand for:
#
#   scripts/configure.sh PRESET [cmake options]
set -eu

preset=$1
shift
if command -v mpicxx.openmpi >/dev/null && command -v mpirun.openmpi >/dev/null; then
  set -- "-DMPI_CXX_COMPILER=$(command -v mpicxx.openmpi)" \
    "-DMPIEXEC_EXECUTABLE=$(command -v mpirun.openmpi)" "$@"
fi
cd "$(dirname "$0")/.."
exec cmake --preset "$preset" "$@"
