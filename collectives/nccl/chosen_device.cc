// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/nccl/chosen_device.h>

#include <cuda_runtime_api.h>

namespace ringleader::nccl {

int device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

int ChosenDevice::choose() {
  int device = device_.load(std::memory_order_relaxed);
  if (device >= 0) return device;
  int current = 0;
  if (cudaGetDevice(&current) != cudaSuccess) current = otherwise_;
  // If several threads come at the same time, one decides.
  return device_.compare_exchange_strong(device, current) ? current : device;
}

int ChosenDevice::get() const {
  const int device = device_.load(std::memory_order_relaxed);
  return device >= 0 ? device : otherwise_;
}

}  // namespace ringleader::nccl
