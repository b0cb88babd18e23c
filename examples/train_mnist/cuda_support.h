// SPDX-License-Identifier: Apache-2.0
//
// What the program asks of NVIDIA GPUs. Implemented in cudnn_network.cc and cuda_kernels.cu, or in
// no_cuda.cc. With the latter there are no GPUs to choose, so nothing else is called.
#pragma once

#include <memory>
#include <string>

#include "network.h"

namespace train_mnist {

int cuda_device_count();

/// 16 bytes that no other device has.
std::string cuda_device_uuid(int device);

/// Sets the device that this thread and ringleader use from now on.
void use_cuda_device(int device);

std::unique_ptr<Network> make_cudnn_network(const NetworkOptions& options);

/// Zeros in the memory of the current device.
std::shared_ptr<float> make_cuda_zeros(std::int64_t count);

/// velocity = momentum * velocity + gradient; value -= rate * velocity, in the parameter's stream.
void cuda_momentum_step(const Parameter& parameter, float* velocity, float rate, float momentum);

}  // namespace train_mnist
