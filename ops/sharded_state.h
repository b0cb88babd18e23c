// SPDX-License-Identifier: Apache-2.0
//
// Sharded state: the state of an optimizer divided among the ranks (ZeRO stage 1, Rajbhandari et
// al. 2020): each rank gets the sum of the gradients of its shard only, steps its shard, and
// collects the others' parameters. The bytes that travel are those of one allreduce.
//
//   parameters   | p0 | p1 | p2  |pad|  p3  | p4 |pad|      buckets of whole parameters, padded to
//   a
//                |    bucket 0       |   bucket 1    |      multiple of the number of ranks
//   rank 0       |#########          |#######        |
//   rank 1       |         ##########|       ########|
//
// A bucket's reduce-scatter begins when its last gradient is ready, while others are computed.
#pragma once

#include <ringleader/ops/gradient_reducer.h>
#include <ringleader/ops/gradient_transport.h>
#include <ringleader/ops/slot.h>

#include <cstddef>
#include <memory>
#include <vector>

namespace ringleader {

/// slots       must outlive it: `parameters` of them, then the agreement about the step.
///             Parameters and gradients that can be moved are put into the buckets, the others are
///             copied in every step. When it ends it moves them back.
/// Its shards() are this rank's pieces, one per parameter that has some. Does not block. Errors:
/// invalid_argument for options that cannot be combined with shards.
std::unique_ptr<GradientTransport> make_sharded_state(std::vector<Slot>& slots,
                                                      std::size_t parameters,
                                                      GradientMeaning meaning,
                                                      const OptimizerOptions& options);

}  // namespace ringleader
