// SPDX-License-Identifier: Apache-2.0
//
// ShardedState: the state of an optimizer divided among the ranks (ZeRO stage 1, Rajbhandari et al.
// 2020): each rank gets the sum of the gradients of its shard only, steps its shard, and collects
// the others' parameters. The bytes that travel are those of one allreduce.
//
//   parameters   | p0 | p1 | p2  |pad|  p3  | p4 |pad|      buckets of whole parameters, padded to
//   a
//                |    bucket 0       |   bucket 1    |      multiple of the number of ranks
//   rank 0       |#########          |#######        |
//   rank 1       |         ##########|       ########|
//
// A bucket's reduce-scatter begins when its last gradient is ready, while others are computed.
#pragma once

#include <ringleader/core/source_location.h>
#include <ringleader/ops/gradient_reducer.h>
#include <ringleader/ops/slot.h>

#include <cstddef>
#include <memory>
#include <vector>

namespace ringleader {

/// Threading: one thread at a time, except that ready() may be called from any thread.
class ShardedState {
 public:
  /// slots   as those of DistributedOptimizer; parameters and gradients that can be moved are put
  ///         into the buckets, the others are copied in every step
  /// Collective, blocks. Errors: as DistributedOptimizer; invalid_argument for options that cannot
  /// be combined with shards.
  ShardedState(std::vector<Slot> slots, GradientMeaning meaning, const OptimizerOptions& options,
               SourceLocation where);
  /// Moves parameters and gradients back.
  ~ShardedState();
  ShardedState(const ShardedState&) = delete;
  ShardedState& operator=(const ShardedState&) = delete;

  /// This rank's pieces, one per bucket, as flat parameters of the slots' groups. What the
  /// optimizer is to step from now on.
  const std::vector<Slot>& shards() const;

  void ready(std::size_t index, SourceLocation where);

  /// Waits until the shards' gradients hold the result of all ranks.
  void synchronize(SourceLocation where);

  /// After the optimizer's step: every rank gets all parameters.
  void gather(SourceLocation where);

  /// Fills all gradients with zeros.
  void zero_gradients();

  std::size_t parameters() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringleader
