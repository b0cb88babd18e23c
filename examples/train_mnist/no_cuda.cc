// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>

#include "cuda_support.h"

namespace train_mnist {
namespace {

/// Unreachable: without GPUs, no GPU is chosen.
[[noreturn]] void refuse() { throw std::logic_error("this program was built without CUDA"); }

}  // namespace

int cuda_device_count() { return 0; }
std::string cuda_device_uuid(int /*device*/) { refuse(); }
void use_cuda_device(int /*device*/) { refuse(); }
std::unique_ptr<Network> make_cudnn_network(const NetworkOptions& /*options*/) { refuse(); }
std::shared_ptr<float> make_cuda_zeros(std::int64_t /*count*/) { refuse(); }
void cuda_momentum_step(const Parameter& /*parameter*/, float* /*velocity*/, float /*rate*/,
                        float /*momentum*/) {
  refuse();
}

}  // namespace train_mnist
