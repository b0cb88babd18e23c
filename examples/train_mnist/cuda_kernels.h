// SPDX-License-Identifier: Apache-2.0
//
// What neither cuDNN nor cuBLAS has. All pointers are to device memory. Calls only enqueue.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace train_mnist {

/// Cross entropy of each of `count` images, whether its class was predicted, and the gradient of
/// the mean loss with respect to the logits.
///   log_probabilities, gradient   count x kClasses
///   labels, losses, correct       count
void cross_entropy(const float* log_probabilities, const std::uint8_t* labels, std::int64_t count,
                   float* gradient, float* losses, std::uint8_t* correct, cudaStream_t stream);

}  // namespace train_mnist
