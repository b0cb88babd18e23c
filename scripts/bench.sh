#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Builds the benchmarks, runs all of them in a few minutes, and writes their results as JSON:
#
#   scripts/bench.sh [FOLDER]            # default: build/bench
#   scripts/plot_bench.py FOLDER         # draws them
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$root/build/bench}

"$root/scripts/setup.sh"
"$root/scripts/configure.sh" release
cmake --build "$root/build/release" --target allreduce_bench latency_bench step_bench
mkdir -p "$out"
out=$(cd "$out" && pwd)
programs=$root/build/release/benchmarks

# Open MPI refuses to run as root unless told twice.
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# More ranks than cores must give them up while they wait, MPI's own too.
export OMPI_MCA_rmaps_base_oversubscribe=1
cores=$(nproc)
printf '%s, %s cores, %s\n' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)" \
  "$cores" "$(mpirun --version | head -1)" >"$out/machine.txt"

on() { # RANKS PROGRAM...
  ranks=$1
  shift
  yield=0
  [ "$ranks" -le "$cores" ] || yield=1
  OMPI_MCA_mpi_yield_when_idle=$yield mpirun -np "$ranks" "$@"
}

for ranks in 2 4; do
  on $ranks "$programs/allreduce_bench" -b 64K -e 256M -f 4 -n 11 -w 2 -c 0 --placement arena \
    inplace --baseline mpi-best --json "$out/allreduce.$ranks.json"
done
on 2 "$programs/allreduce_bench" -b 64K -e 64M -f 4 -n 5 -w 1 -c 0 --placement inplace \
  --baseline gloo --json "$out/gloo.2.json"
on 2 "$programs/latency_bench" -b 8 -e 1K --json "$out/latency.2.json"
for model in resnet50 vgg16 bert-large gpt2; do
  on 2 "$programs/step_bench" --model $model -n 11 -w 3 --json "$out/step.$model.2.json"
done
on 4 "$programs/step_bench" --model resnet50 -n 9 -w 3 --json "$out/step.resnet50.4.json"
on 2 "$programs/step_bench" --model resnet50 --compute-ms 60 --overlap -n 9 -w 3 \
  --json "$out/overlap.resnet50.2.json"
