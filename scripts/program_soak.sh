#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs random programs against a local reference, on 2 to 5 ranks, and prints the seeds of those that
# compute something wrong, crash or hang:
#
#   scripts/program_soak.sh [programs] [first seed]      # default 2000 100000
#   PRESET=asan scripts/program_soak.sh 200
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
preset=${PRESET:-release}
build=$root/build/$preset
"$root/scripts/configure.sh" "$preset" -DRINGLEADER_BUILD_TESTS=ON
cmake --build "$build" --target random_program
export RINGLEADER_TEST_SOURCE_DIR="$root" RINGLEADER_TEST_BUILD_DIR="$build" RINGLEADER_TEST_COMPILER=c++
RINGLEADER_TEST_MPIRUN=$(sed -n 's/^MPIEXEC_EXECUTABLE:[A-Z]*=//p' "$build/CMakeCache.txt")
export RINGLEADER_TEST_MPIRUN
cd "$root/tests/programs"
exec python3 -B random_test.py --soak "${2:-100000}" "${1:-2000}"
