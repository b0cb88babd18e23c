// SPDX-License-Identifier: Apache-2.0
//
// Tensors in a GPU's memory, as a program has them, each used in a stream of its own.
#pragma once

#include <ringleader/ringleader.h>

#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <thread>
#include <vector>

namespace ringleader::test {

constexpr std::int64_t kCount = 100'003;

inline void check(cudaError_t code) {
  if (code != cudaSuccess) throw std::runtime_error(cudaGetErrorString(code));
}

/// Elements on the device, and the stream in which they are used.
class Tensor {
 public:
  explicit Tensor(std::int64_t count = kCount) : count_(count) {
    int devices = 0;
    check(cudaGetDeviceCount(&devices));
    check(cudaSetDevice(local_rank() % devices));
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
    check(cudaMalloc(&data_, bytes()));
    check(cudaMallocHost(reinterpret_cast<void**>(&staged_), bytes()));
  }
  ~Tensor() {
    static_cast<void>(cudaFreeHost(staged_));
    static_cast<void>(cudaFree(data_));
    static_cast<void>(cudaStreamDestroy(stream_));
  }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;

  TensorView view() const {
    return TensorView(data_, {count_}, DType::f32, Device::cuda).on(stream_);
  }
  void* data() const { return data_; }
  cudaStream_t stream() const { return stream_; }
  std::size_t bytes() const { return static_cast<std::size_t>(count_) * sizeof(float); }

  /// Only enqueues; from memory that is not pinned, the copy would wait for the stream.
  void set(const std::vector<float>& values) {
    std::copy(values.begin(), values.end(), staged_);
    check(cudaMemcpyAsync(data_, staged_, bytes(), cudaMemcpyHostToDevice, stream_));
  }
  /// In the order of the stream.
  std::vector<float> get() const {
    std::vector<float> values(static_cast<std::size_t>(count_));
    check(cudaMemcpyAsync(values.data(), data_, bytes(), cudaMemcpyDeviceToHost, stream_));
    check(cudaStreamSynchronize(stream_));
    return values;
  }

 private:
  std::int64_t count_;
  void* data_ = nullptr;
  float* staged_ = nullptr;
  cudaStream_t stream_ = nullptr;
};

/// Exact in any order of summation.
inline std::vector<float> numbers(int factor) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < kCount; ++i) values.push_back(float(i % 1000 * factor));
  return values;
}

inline int sum_of_ranks() { return size() * (size() + 1) / 2; }

/// Keeps the stream from going on for a while.
inline void delay(cudaStream_t stream) {
  check(cudaLaunchHostFunc(
      stream, [](void*) { std::this_thread::sleep_for(std::chrono::milliseconds(50)); }, nullptr));
}

}  // namespace ringleader::test
