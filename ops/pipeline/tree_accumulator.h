// SPDX-License-Identifier: Apache-2.0
//
// TreeAccumulator: adds up the gradients of 2^k virtual workers, which come one after another, by
// the binary tree that kernels::reduce() uses over ranks: ((0 + 1) + (2 + 3)) + ... Together the
// two form one tree over all workers of all ranks, so the sum has the same bits on any number of
// ranks.
//
//   if (accumulator.add(gradient)) submit(gradient);     // the last worker's: the sum is in it
//
// As in a binary counter, finished subtrees of different sizes wait for their neighbours: k buffers
// for 2^k workers.
#pragma once

#include <ringleader/core/tensor.h>

#include <cstddef>
#include <vector>

namespace ringleader {

class TreeAccumulator {
 public:
  /// workers  a power of two
  explicit TreeAccumulator(int workers) : workers_(workers) {}

  /// Takes the next worker's gradient and leaves zeros. After the last one, leaves the sum and
  /// returns true.
  bool add(const TensorView& gradient);

  void reset() { added_ = 0; }

 private:
  int workers_;
  int added_ = 0;
  std::vector<std::vector<std::byte>> subtrees_;  ///< indexed by the logarithm of their size
};

}  // namespace ringleader
