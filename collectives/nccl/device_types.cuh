// SPDX-License-Identifier: Apache-2.0
//
// What the kernels share: the device's element types, and how kernels are launched.
#pragma once

#include <ringleader/collectives/nccl/checked.h>
#include <ringleader/core/types.h>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace ringleader::nccl {

constexpr int kThreads = 256;

/// Enough blocks to fill the largest chips several times over; a block takes one tile after
/// another.
constexpr std::int64_t kBlocksMax = 2048;

/// Calls visit() with a zero of the device's type, which for 16-bit floats is not the host's.
template <typename Visit>
Status with_device_type(DType dtype, Visit visit) {
  switch (dtype) {
    case DType::u8:
      return visit(std::uint8_t{});
    case DType::i8:
      return visit(std::int8_t{});
    case DType::i16:
      return visit(std::int16_t{});
    case DType::i32:
      return visit(std::int32_t{});
    case DType::i64:
      return visit(std::int64_t{});
    case DType::f16:
      return visit(__half{});
    case DType::bf16:
      return visit(__nv_bfloat16{});
    case DType::f32:
      return visit(float{});
    case DType::f64:
      return visit(double{});
  }
  return Status(Code::unsupported, "no kernel for this element type");
}

/// Launches a kernel. Checks the call's own return code: the thread's last error may be somebody
/// else's.
template <typename... Arguments>
Status run(void (*kernel)(Arguments...), std::int64_t blocks, cudaStream_t stream,
           std::type_identity_t<Arguments>... arguments) {
  void* pointers[] = {&arguments...};
  const dim3 grid(static_cast<unsigned>(std::min(blocks, kBlocksMax)));
  return checked(cudaLaunchKernel(kernel, grid, dim3(kThreads), pointers, 0, stream),
                 "cudaLaunchKernel");
}

/// Loads a kernel. Otherwise its first use would load it, and may wait for the device.
template <typename Kernel>
Status load(Kernel* kernel) {
  cudaFuncAttributes attributes;
  return checked(cudaFuncGetAttributes(&attributes, kernel), "cudaFuncGetAttributes");
}

}  // namespace ringleader::nccl
