// SPDX-License-Identifier: Apache-2.0
//
// RoundRobin: numbers the samples of all ranks as if they were dealt from one pile, one to each
// rank in turn. A rank that has no more samples is skipped.
//
//   RoundRobin samples({3, 1}, 0);        // global numbers of rank 0's: 0, 2, 3; of rank 1's: 1
#pragma once

#include <ringleader/ops/process_set.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace ringleader {

/// Numbers the samples of all ranks, one from each rank in turn.
class RoundRobin {
 public:
  /// counts  samples of each rank
  RoundRobin(std::vector<std::int64_t> counts, int rank);

  /// The number of samples of all ranks together.
  std::int64_t total() const { return before_round(INT64_MAX); }

  /// This rank's samples among the global ones [begin, end): a range of its own numbers.
  std::pair<std::int64_t, std::int64_t> local_range(std::int64_t begin, std::int64_t end) const {
    return {local_before(begin), local_before(end)};
  }

 private:
  /// Samples that all ranks together hold in the first `round` rounds.
  std::int64_t before_round(std::int64_t round) const;
  /// How many of the first `global` samples belong to this rank.
  std::int64_t local_before(std::int64_t global) const;

  std::vector<std::int64_t> counts_;
  std::size_t rank_;
};

/// Each rank's `count`, by rank. Collective, blocks.
std::vector<std::int64_t> gather_counts(const std::string& name, std::int64_t count,
                                        ProcessSet process_set);

}  // namespace ringleader
