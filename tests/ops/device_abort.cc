// SPDX-License-Identifier: Apache-2.0
//
// A rank whose GPU never comes to an operation that all ranks have decided on: the others' kernels
// wait for it, and are ended after RINGLEADER_STALL_ABORT_S. The argument is a number of seconds
// that is longer. Prints "ended: rank_lost" on each rank and then leaves without a word to the
// others. Exits with 77 without a GPU.
#include <ringleader/ringleader.h>

#include <cuda_runtime_api.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

using namespace ringleader;

namespace {

constexpr std::int64_t kCount = 1000;
int delay_s = 8;

void delay() { std::this_thread::sleep_for(std::chrono::seconds(delay_s)); }

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) delay_s = std::atoi(argv[1]);
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::printf("skipped: there is no GPU here\n");
    return 77;
  }
  init();
  cudaStream_t stream = nullptr;
  void* data = nullptr;
  if (cudaSetDevice(local_rank() % devices) != cudaSuccess ||
      cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) != cudaSuccess ||
      cudaMalloc(&data, kCount * sizeof(float)) != cudaSuccess) {
    return 1;
  }
  const TensorView tensor = TensorView(data, {kCount}, DType::f32, Device::cuda).on(stream);
  allreduce("connects", tensor);
  if (rank() == 1) {
    static_cast<void>(cudaLaunchHostFunc(
        stream, [](void*) { delay(); }, nullptr));
  }
  try {
    allreduce("never", tensor);
    std::printf("it came to an end\n");
  } catch (const Error& error) {
    std::printf("ended: %s\n", name_of(error.code()));
  }
  std::fflush(stdout);
  delay();  // so that mpirun does not end the others first
  std::_Exit(0);
}
