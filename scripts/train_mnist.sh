#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing, builds train_mnist and trains, from a fresh clone:
#
#   scripts/train_mnist.sh [RANKS] [options of train_mnist]     # default: 2 ranks
#
# The exit code is that of the program.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build/release

ranks=2
case ${1:-} in
  "" | *[!0-9]*) ;;
  *)
    ranks=$1
    shift
    ;;
esac

"$root/scripts/setup.sh"
# The tests need packages of their own, so a first configuration leaves them out.
grep -qs '^build examples/train_mnist:' "$build/build.ninja" ||
  "$root/scripts/configure.sh" release -DRINGLEADER_BUILD_TESTS=OFF
cmake --build "$build" --target train_mnist

# Open MPI refuses to run as root unless told twice.
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# Open MPI gives rank 0 a terminal whatever its own output is.
[ -t 1 ] || set -- --no-progress "$@"
set -- "$build/examples/train_mnist" "$@"
[ "$ranks" -le "$(nproc)" ] || set -- --oversubscribe "$@"

mpirun=$(command -v mpirun.openmpi || echo mpirun)
exec "$mpirun" -np "$ranks" "$@"
