#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Everything that needs a GPU, on a machine with one: builds, runs the tests with the label `gpu`, the
# kernels' tests under compute-sanitizer, the benchmarks on one rank and two epochs of train_mnist.
# Everything has a time limit. Two and three ranks share the GPU, under MPS if it can be started:
# right, but slow, so nothing is measured with them.
#
#   scripts/gpu_check.sh [FOLDER]      # writes FOLDER/gpu.md and gpu.json; default: build/gpu
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
export PATH="$PATH:/usr/local/cuda/bin"
cmake --preset release -S "$root" -DRINGLEADER_WITH_CUDA=ON
cmake --build "$build" --target device_conformance device_test device_abort fusion_kernels_test \
  train_mnist pack_bench allreduce_bench

: > "$out/checks.txt"
failed=0
check() { # NAME SECONDS COMMAND...
  name=$1
  limit=$2
  shift 2
  # Ranks that hang are killed with the process group.
  if timeout -k 10 "$limit" "$@" > "$out/$name.log" 2>&1; then
    result=passed
  else
    result="failed ($?)"
    failed=1
    tail -n 20 "$out/$name.log"
  fi
  echo "$name: $result"
  echo "$name $result" >> "$out/checks.txt"
}

# One rank, with the GPU for itself.
for tool in memcheck racecheck; do
  check "$tool" 600 compute-sanitizer --tool "$tool" --error-exitcode 1 \
    "$build/tests/fusion_kernels_test"
done
check pack_bench 600 "$build/benchmarks/pack_bench" --json "$out/pack.json"
check allreduce_bench 600 mpirun -np 1 "$build/benchmarks/allreduce_bench" -b 4 -e 256M -f 8 \
  --backend nccl --placement device --baseline nccl --json "$out/allreduce.json"
check enqueue_bench 300 mpirun -np 1 "$build/benchmarks/allreduce_bench" -b 4 -e 4 -n 200 \
  --backend nccl --placement device --baseline nccl --enqueue --json "$out/enqueue.json"
check train_mnist 600 mpirun -np 1 "$build/examples/train_mnist" --device cuda --epochs 2 \
  --no-progress --json "$out/train.json"

# Several ranks on it.
mps=off
export CUDA_MPS_PIPE_DIRECTORY="$out/mps" CUDA_MPS_LOG_DIRECTORY="$out/mps"
mkdir -p "$out/mps"
if command -v nvidia-cuda-mps-control > /dev/null && timeout 20 nvidia-cuda-mps-control -d; then
  trap 'echo quit | timeout 20 nvidia-cuda-mps-control || true' EXIT
  # It may start and then refuse programs.
  if timeout 60 "$build/tests/fusion_kernels_test" > "$out/mps.log" 2>&1; then
    mps=on
  else
    echo quit | timeout 20 nvidia-cuda-mps-control || true
    trap - EXIT
  fi
fi
[ $mps = on ] || unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
echo "MPS: $mps"
check tests 1800 ctest --test-dir "$build" -L gpu --no-tests=error --output-on-failure

/usr/bin/env python3 "$root/scripts/gpu_report.py" "$out" --mps "$mps" \
  --commit "$(git -C "$root" rev-parse HEAD 2> /dev/null || echo unknown)"
exit $failed
