// SPDX-License-Identifier: Apache-2.0
#include "cuda_kernels.h"

#include <type_traits>

#include "cuda_handles.h"
#include "cuda_support.h"

namespace train_mnist {
namespace {

constexpr int kThreads = 128;

__global__ void cross_entropy_of(const float* log_probabilities, const std::uint8_t* labels,
                                 std::int64_t count, float* gradient, float* losses,
                                 std::uint8_t* correct) {
  const std::int64_t image = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (image >= count) return;
  const float* const row = log_probabilities + image * kClasses;
  const int label = labels[image];
  int likeliest = 0;
  for (int c = 0; c < kClasses; ++c) {
    if (row[c] > row[likeliest]) likeliest = c;
    const float wanted = c == label ? 1.0F : 0.0F;
    gradient[image * kClasses + c] = (expf(row[c]) - wanted) / static_cast<float>(count);
  }
  losses[image] = -row[label];
  correct[image] = likeliest == label ? 1 : 0;
}

__global__ void momentum_step(float* value, float* velocity, const float* gradient,
                              std::int64_t count, float rate, float momentum) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  velocity[i] = momentum * velocity[i] + gradient[i];
  value[i] -= rate * velocity[i];
}

/// One thread per element.
template <typename... Arguments>
void run(void (*kernel)(Arguments...), std::int64_t elements, cudaStream_t stream,
         std::type_identity_t<Arguments>... arguments) {
  void* pointers[] = {&arguments...};
  const dim3 blocks(static_cast<unsigned>((elements + kThreads - 1) / kThreads));
  check(cudaLaunchKernel(kernel, blocks, dim3(kThreads), pointers, 0, stream), "cudaLaunchKernel");
}

}  // namespace

void cross_entropy(const float* log_probabilities, const std::uint8_t* labels, std::int64_t count,
                   float* gradient, float* losses, std::uint8_t* correct, cudaStream_t stream) {
  run(cross_entropy_of, count, stream, log_probabilities, labels, count, gradient, losses, correct);
}

void cuda_momentum_step(const Parameter& parameter, float* velocity, float rate, float momentum) {
  const std::int64_t count = parameter.value.count();
  run(momentum_step, count, static_cast<cudaStream_t>(parameter.value.stream()),
      static_cast<float*>(parameter.value.data()), velocity,
      static_cast<const float*>(parameter.gradient.data()), count, rate, momentum);
}

}  // namespace train_mnist
