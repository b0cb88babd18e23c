// SPDX-License-Identifier: Apache-2.0
//
// DistributedSampler: which samples of a data set this rank works on.
//
//   DistributedSampler sampler(dataset.size());
//   for (int epoch = 0; epoch < epochs; ++epoch)
//     for (std::int64_t index : sampler.indices(epoch)) use(dataset[index]);
//
// There is one permutation per (seed, epoch), equal on all ranks and on all machines. It is dealt
// out like cards: rank r gets its elements r, r + size, r + 2 size, ... In every step, P ranks with
// batches of B therefore see the same samples as one rank with batches of P * B.
#pragma once

#include <cstdint>
#include <vector>

namespace ringleader {

/// What happens to the last `count % size` samples.
enum class Tail {
  pad,   ///< every sample is used; samples from the start of the permutation are repeated
  drop,  ///< they are left out of this epoch
};

/// How samples are dealt out. All options but `rank` must be equal on all ranks.
struct SamplerOptions {
  /// Seed of the permutation.
  std::uint64_t seed = 0;
  /// False: samples keep their own order.
  bool shuffle = true;
  /// What happens to the last `count % size` samples.
  Tail tail = Tail::pad;
  int rank = -1;  ///< -1: ringleader::rank()
  int size = -1;  ///< -1: ringleader::size()
};

/// Which samples of a data set this rank works on.
class DistributedSampler {
 public:
  /// count  samples in the data set, at least 1
  /// Errors: invalid_argument; not_initialized if rank or size is left at its default.
  DistributedSampler(std::int64_t count, const SamplerOptions& options = {});

  /// This rank's samples of an epoch: the same number on every rank.
  std::vector<std::int64_t> indices(std::uint64_t epoch) const;

  /// The number of samples that indices() returns.
  std::int64_t count_per_rank() const;

 private:
  std::int64_t count_;
  SamplerOptions options_;
};

}  // namespace ringleader
