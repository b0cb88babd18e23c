// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/pipeline/tree_accumulator.h>

#include <ringleader/collectives/kernels/reduce.h>

#include <cstring>

namespace ringleader {

bool TreeAccumulator::add(const TensorView& gradient) {
  const std::size_t bytes = gradient.bytes();
  std::size_t level = 0;
  for (; (added_ >> level & 1) != 0; ++level) {
    kernels::combine(gradient.dtype(), ReduceOp::sum, gradient.data(), subtrees_[level].data(),
                     gradient.count());
  }
  if (++added_ == workers_) {
    added_ = 0;
    return true;
  }
  if (level == subtrees_.size()) subtrees_.emplace_back(bytes);
  if (bytes == 0) return false;
  std::memcpy(subtrees_[level].data(), gradient.data(), bytes);
  std::memset(gradient.data(), 0, bytes);
  return false;
}

}  // namespace ringleader
