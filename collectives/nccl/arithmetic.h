// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic on tensors of a device, each by itself. Calls enqueue and do not block.
#pragma once

#include <ringleader/core/status.h>
#include <ringleader/core/tensor.h>

#include <cuda_runtime_api.h>

#include <cstdint>

namespace ringleader::nccl {

/// As load_kernels() (fusion_kernels.h).
Status load_arithmetic();

/// Every element a copy of the one at `element`, in host memory.
Status fill(void* data, std::int64_t count, DType dtype, const void* element, cudaStream_t stream);

/// Floats times a factor, rounded once.
Status multiply(const TensorView& tensor, double factor, cudaStream_t stream);

/// Squares of floats, as f64: what thread t meets is added to partial[t], for kPartialSums threads
/// whatever the device, so that the same numbers have the same sum.
constexpr std::int64_t kPartialSums = 64 * 256;
Status add_squares(const TensorView& tensor, double* partial, cudaStream_t stream);

}  // namespace ringleader::nccl
