// SPDX-License-Identifier: Apache-2.0
//
// Included before a .cu file that is compiled as C++: a launch puts into the stream a loop over all
// threads of all blocks, which run one after another. So kernels may not wait for each other.
#pragma once

#include "memory.h"
#include "stream.h"

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <tuple>
#include <type_traits>
#include <utility>

#undef __launch_bounds__
#define __launch_bounds__(...)

inline thread_local uint3 threadIdx;
inline thread_local uint3 blockIdx;
inline thread_local dim3 blockDim;
inline thread_local dim3 gridDim;

namespace sim_gpu {

template <typename... Arguments, std::size_t... I>
std::tuple<Arguments...> read(void** pointers, std::index_sequence<I...>) {
  return {*static_cast<Arguments*>(pointers[I])...};
}

/// A kernel reaches no other.
template <typename Argument>
void require_device_memory(const void* argument) {
  if constexpr (std::is_pointer_v<Argument>) {
    if (is_device_memory(*static_cast<const Argument*>(argument), 1)) return;
    std::fprintf(stderr, "simulated GPU: a kernel is given memory of the host\n");
    std::abort();
  }
}

template <typename Call>
void for_all_threads(dim3 grid, dim3 block, const Call& call) {
  gridDim = grid;
  blockDim = block;
  for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x) {
    for (threadIdx.x = 0; threadIdx.x < block.x; ++threadIdx.x) call();
  }
}

}  // namespace sim_gpu

template <typename... Arguments>
cudaError_t cudaLaunchKernel(void (*kernel)(Arguments...), dim3 grid, dim3 block, void** pointers,
                             std::size_t, cudaStream_t stream) {
  const auto target = sim_gpu::Stream::of(stream);
  if (target->device() != sim_gpu::current_device) return cudaErrorInvalidResourceHandle;
  if (grid.x == 0 || block.x == 0 || block.x > 1024) return cudaErrorInvalidConfiguration;
  std::size_t index = 0;
  (sim_gpu::require_device_memory<Arguments>(pointers[index++]), ...);
  auto arguments = sim_gpu::read<Arguments...>(pointers, std::index_sequence_for<Arguments...>());
  target->push(
      [=] { sim_gpu::for_all_threads(grid, block, [&] { std::apply(kernel, arguments); }); });
  return cudaSuccess;
}

template <typename... Arguments>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, void (*)(Arguments...)) {
  *attributes = {};
  return cudaSuccess;
}
