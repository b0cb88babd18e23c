// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic on single tensors in device memory. Calls enqueue work and do not block.
#pragma once

#include <ringleader/core/status.h>
#include <ringleader/core/tensor.h>

#include <cuda_runtime_api.h>

#include <cstdint>

namespace ringleader::nccl {

/// Like load_kernels() (fusion_kernels.h).
Status load_arithmetic();

/// Sets every element to a copy of the one at `element`, which is in host memory.
Status fill(void* data, std::int64_t count, DType dtype, const void* element, cudaStream_t stream);

/// Multiplies floats by a factor, rounded once.
Status multiply(const TensorView& tensor, double factor, cudaStream_t stream);

/// Adds up squares of floats, as f64. Thread t adds the squares of its elements to partial[t].
/// There are kPartialSums threads on every device, so the same numbers have the same sum.
constexpr std::int64_t kPartialSums = 64 * 256;
Status add_squares(const TensorView& tensor, double* partial, cudaStream_t stream);

}  // namespace ringleader::nccl
