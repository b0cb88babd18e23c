// SPDX-License-Identifier: Apache-2.0
//
// Owners of handles and memory from CUDA, cuDNN and cuBLAS, and checks of their calls.
#pragma once

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace train_mnist {

/// Throw std::runtime_error.
inline void check(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  throw std::runtime_error(std::string(call) + ": " + cudaGetErrorString(code));
}
inline void check(cudnnStatus_t code, const char* call) {
  if (code == CUDNN_STATUS_SUCCESS) return;
  throw std::runtime_error(std::string(call) + ": " + cudnnGetErrorString(code));
}
inline void check(cublasStatus_t code, const char* call) {
  if (code == CUBLAS_STATUS_SUCCESS) return;
  throw std::runtime_error(std::string(call) + ": " + cublasGetStatusString(code));
}

/// Memory of the current device, or host memory that the device can access directly.
template <typename T>
std::shared_ptr<T> device_memory(std::int64_t count) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, static_cast<std::size_t>(count) * sizeof(T)), "cudaMalloc");
  return {static_cast<T*>(memory), [](T* data) { static_cast<void>(cudaFree(data)); }};
}
template <typename T>
std::shared_ptr<T> pinned_memory(std::int64_t count) {
  void* memory = nullptr;
  check(cudaMallocHost(&memory, static_cast<std::size_t>(count) * sizeof(T)), "cudaMallocHost");
  return {static_cast<T*>(memory), [](T* data) { static_cast<void>(cudaFreeHost(data)); }};
}

/// A handle of one of the libraries.
template <typename Handle, auto kCreate, auto kDestroy>
class Owned {
 public:
  Owned() { check(kCreate(&handle_), "creating a handle of CUDA"); }
  ~Owned() { static_cast<void>(kDestroy(handle_)); }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  Handle get() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};

inline cudaError_t create_stream(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking);
}
using CudaStream = Owned<cudaStream_t, create_stream, cudaStreamDestroy>;
using Cudnn = Owned<cudnnHandle_t, cudnnCreate, cudnnDestroy>;
using Cublas = Owned<cublasHandle_t, cublasCreate, cublasDestroy>;
using TensorDescriptor =
    Owned<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor>;
using FilterDescriptor =
    Owned<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor>;
using ConvolutionDescriptor = Owned<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor,
                                    cudnnDestroyConvolutionDescriptor>;
using PoolingDescriptor =
    Owned<cudnnPoolingDescriptor_t, cudnnCreatePoolingDescriptor, cudnnDestroyPoolingDescriptor>;
using ActivationDescriptor = Owned<cudnnActivationDescriptor_t, cudnnCreateActivationDescriptor,
                                   cudnnDestroyActivationDescriptor>;

}  // namespace train_mnist
