#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs random scenarios of the protocol simulator for a given time. Stops at the first that breaks an
# invariant, and prints its seed, what it is like and everything that happened in it:
#
#   scripts/sim_soak.sh [seconds] [fewest ranks] [most ranks]     # default 60 1 12
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
[ -x "$root/build/release/tests/soak" ] || "$root/scripts/setup.sh" --tests
"$root/scripts/configure.sh" release -DRINGLEADER_BUILD_TESTS=ON
cmake --build "$root/build/release" --target soak
exec "$root/build/release/tests/soak" "${1:-60}" "${2:-1}" "${3:-12}"
