// SPDX-License-Identifier: Apache-2.0
//
// Batch normalization over the samples of all ranks ("synchronized"): its statistics.
//
//   BatchMoments here = ...;                            // of this rank's samples
//   BatchMoments all = combine_moments("norm1", here);  // of all ranks' samples
//
// The backward pass needs, per channel, two sums over all samples: of the gradient, and of its
// product with the normalized input. An allreduce computes them. For LibTorch the whole layer is in
// adapters/torch_sync_batch_norm.h.
#pragma once

#include <ringleader/core/source_location.h>
#include <ringleader/ops/process_set.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace ringleader {

/// Mean and variance per channel, and the number of values they are computed from.
struct BatchMoments {
  std::int64_t count = 0;         ///< values per channel; may differ by rank, and may be 0
  std::vector<double> means;      ///< per channel
  std::vector<double> variances;  ///< per channel; population variance: squares divided by count
};

/// The moments of all ranks' values together, with the same bits on all ranks. Accurate even where
/// means are large and variances small, unlike sums of squares (Chan, Golub, LeVeque 1979).
/// Collective, blocks. The number of channels must be equal on all ranks. Errors: invalid_argument
/// for a negative count or unequal lengths; those of allgather().
BatchMoments combine_moments(std::string_view name, const BatchMoments& here,
                             ProcessSet process_set = {},
                             SourceLocation where = SourceLocation::current());

}  // namespace ringleader
