#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Everything that needs a GPU, on a machine with one: installs what is missing, builds, runs the tests
# with the label `gpu`, the kernels' tests under compute-sanitizer, the benchmarks on one rank and two
# epochs of train_mnist. Everything has a time limit. Two and three ranks share the GPU, under MPS if
# it can be started: right, but slow, so nothing is measured with them.
#
#   scripts/gpu_check.sh [FOLDER [CHECK...]]   # writes FOLDER/gpu.md and gpu.json; default: build/gpu
#
# CHECKs are memcheck, racecheck, pack_bench, allreduce_bench, enqueue_bench, train_mnist, tests; all
# of them if none is named.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$root/build/gpu}
[ $# -eq 0 ] || shift
chosen=" $* "
mkdir -p "$out"
out=$(cd "$out" && pwd)
build=$root/build/release

command -v nvidia-smi > /dev/null || { echo "there is no GPU here" >&2; exit 77; }
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
# Otherwise all threads of a rank share a core.
export OMPI_MCA_hwloc_base_binding_policy=none
export PATH="$PATH:/usr/local/cuda/bin"
"$root/scripts/setup.sh" --tests || echo "going on with what is installed" >&2
rm -f "$out"/*.json "$out"/gpu.md "$out"/*.log
cmake --preset release -S "$root" -DRINGLEADER_WITH_CUDA=ON
timeout 3000 cmake --build "$build" --target mpi_conformance device_test device_abort fusion_kernels_test \
  train_mnist pack_bench allreduce_bench

: > "$out/checks.txt"
failed=0
check() { # NAME SECONDS COMMAND...
  name=$1
  limit=$2
  shift 2
  case $chosen in "  " | *" $name "*) ;; *) return 0 ;; esac
  # mpirun ends its ranks when it is told to end; what is left is killed.
  if timeout -k 10 "$limit" "$@" > "$out/$name.log" 2>&1; then
    result=passed
  else
    result="failed ($?)"
  fi
  # A test that is skipped here has not looked at the GPU.
  if [ "$name" = tests ] && grep -q '[*][*][*]Skipped' "$out/$name.log"; then
    result="failed ($(grep -c '[*][*][*]Skipped' "$out/$name.log") skipped)"
  fi
  if [ "$result" != passed ]; then
    failed=1
    tail -n 20 "$out/$name.log"
  fi
  echo "$name: $result"
  echo "$name $result" >> "$out/checks.txt"
}

mps=off
finish() {
  if [ $mps = on ]; then echo quit | timeout 20 nvidia-cuda-mps-control || true; fi
  timeout 60 python3 "$root/scripts/gpu_report.py" "$out" --mps "$mps" \
    --commit "$(git -C "$root" rev-parse HEAD 2> /dev/null || echo unknown)"
}
trap finish EXIT
trap 'exit 143' INT TERM HUP

# One rank, with the GPU for itself.
for tool in memcheck racecheck; do
  if command -v compute-sanitizer > /dev/null; then
    check "$tool" 600 compute-sanitizer --tool "$tool" --error-exitcode 1 \
      "$build/tests/fusion_kernels_test"
  else
    echo "$tool not run: there is no compute-sanitizer" >> "$out/checks.txt"
  fi
done
check pack_bench 600 "$build/benchmarks/pack_bench" --json "$out/pack.json"
check allreduce_bench 600 mpirun -np 1 "$build/benchmarks/allreduce_bench" -b 4 -e 256M -f 8 \
  --backend nccl --placement device --baseline nccl --json "$out/allreduce.json"
check enqueue_bench 300 mpirun -np 1 "$build/benchmarks/allreduce_bench" -b 4 -e 4 -n 200 \
  --backend nccl --placement device --baseline nccl --enqueue --json "$out/enqueue.json"
check train_mnist 600 mpirun -np 1 "$build/examples/train_mnist" --device cuda --epochs 2 \
  --no-progress --json "$out/train.json"

# Several ranks on it. MPS may start and then refuse programs.
export CUDA_MPS_PIPE_DIRECTORY="$out/mps" CUDA_MPS_LOG_DIRECTORY="$out/mps"
mkdir -p "$out/mps"
if command -v nvidia-cuda-mps-control > /dev/null && timeout 20 nvidia-cuda-mps-control -d; then
  mps=on
  if ! timeout 60 "$build/tests/fusion_kernels_test" > "$out/mps.log" 2>&1; then
    echo quit | timeout 20 nvidia-cuda-mps-control || true
    mps=off
  fi
fi
[ $mps = on ] || unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
check tests 1800 ctest --test-dir "$build" -L gpu --no-tests=error --output-on-failure
exit $failed
