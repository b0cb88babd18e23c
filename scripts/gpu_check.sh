#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Everything that needs a GPU, on a machine with one: builds, runs the tests with the label `gpu`, and
# the kernels' tests under compute-sanitizer, and the benchmarks on one rank. Everything has a time
# limit. Two and three ranks share the GPU: right, but slow, so nothing is measured with them.
#
#   scripts/gpu_check.sh [FOLDER]      # writes FOLDER/gpu.md and JSON; default: build/gpu
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$root/build/gpu}
mkdir -p "$out"
out=$(cd "$out" && pwd)
build=$root/build/release

command -v nvidia-smi > /dev/null || { echo "there is no GPU here" >&2; exit 77; }
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
cmake --preset release -S "$root" -DRINGLEADER_WITH_CUDA=ON
cmake --build "$build" --target mpi_conformance device_test fusion_kernels_test \
  pack_bench allreduce_bench

report=$out/gpu.md
{
  echo "# GPU check, $(date -u +%Y-%m-%d)"
  echo
  nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
  nvcc --version | tail -n 2
  git -C "$root" rev-parse HEAD
  echo
  echo "| check | result |"
  echo "|---|---|"
} > "$report"

failed=0
check() { # NAME SECONDS COMMAND...
  name=$1
  limit=$2
  shift 2
  if timeout -k 10 "$limit" "$@" > "$out/$name.log" 2>&1; then
    result=passed
  else
    result="failed ($?)"
    failed=1
    tail -n 20 "$out/$name.log"
  fi
  echo "$name: $result"
  echo "| $name | $result |" >> "$report"
}

check tests 1800 ctest --test-dir "$build" -L gpu --no-tests=error --output-on-failure
for tool in memcheck racecheck; do
  check "$tool" 600 compute-sanitizer --tool "$tool" --error-exitcode 1 \
    "$build/tests/fusion_kernels_test"
done
check pack_bench 600 "$build/benchmarks/pack_bench" --json "$out/pack.json"
check allreduce_bench 600 mpirun -np 1 "$build/benchmarks/allreduce_bench" -b 4 -e 256M -f 8 \
  --backend nccl --placement device --baseline nccl --json "$out/allreduce.json"
{
  echo
  echo '```'
  cat "$out/pack_bench.log" "$out/allreduce_bench.log"
  echo '```'
} >> "$report"
echo "written: $report"
exit $failed
