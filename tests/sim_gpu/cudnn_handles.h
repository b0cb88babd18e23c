// SPDX-License-Identifier: Apache-2.0
//
// What the handles of the simulated cuDNN and cuBLAS stand for. What is not used is not there:
// padding, strides of convolutions, blending with alpha and beta.
#pragma once

#include "memory.h"
#include "stream.h"

#include <cublas_v2.h>
#include <cudnn.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

/// Shapes; of a filter, n are the output channels and c the input channels.
struct Shape {
  int n = 0, c = 0, h = 0, w = 0;
  int at(int i, int channel, int row, int column) const {
    return ((i * c + channel) * h + row) * w + column;
  }
  int count() const { return n * c * h * w; }
};
struct cudnnTensorStruct : Shape {};
struct cudnnFilterStruct : Shape {};
struct cudnnConvolutionStruct {};
struct cudnnPoolingStruct {};
struct cudnnActivationStruct {};
struct cudnnContext {
  cudaStream_t stream = nullptr;
};
struct cublasContext {
  cudaStream_t stream = nullptr;
};

namespace sim_gpu {

inline void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "simulated cuDNN: %s\n", what);
  std::abort();
}

inline float scalar(const void* value) { return *static_cast<const float*>(value); }

/// All calls overwrite, but for cudnnAddTensor.
inline void require_plain(const void* alpha, const void* beta) {
  require(scalar(alpha) == 1 && scalar(beta) == 0, "alpha is 1 and beta is 0");
}

inline cudnnStatus_t push(cudnnHandle_t handle, Work work) {
  Stream::of(handle->stream)->push(std::move(work));
  return CUDNN_STATUS_SUCCESS;
}

inline const float* read(const void* data) {
  require(is_device_memory(data, sizeof(float)), "memory of the device");
  return static_cast<const float*>(data);
}
inline float* write(void* data) { return const_cast<float*>(read(data)); }

}  // namespace sim_gpu
