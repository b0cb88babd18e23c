#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing, builds everything and runs all tests, from a fresh clone:
#
#   scripts/test.sh [ctest options]                # for example -R protocol
#   PRESET=asan scripts/test.sh                    # release (default), debug, asan or tsan
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
preset=${PRESET:-release}

"$root/scripts/setup.sh" --tests
"$root/scripts/configure.sh" "$preset" -DRINGLEADER_BUILD_TESTS=ON
cmake --build "$root/build/$preset"

# Open MPI refuses to run as root unless told twice.
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# Tests that start ranks run alone, whatever --parallel says.
exec ctest --test-dir "$root/build/$preset" --output-on-failure --parallel 2 "$@"
