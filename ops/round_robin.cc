// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/round_robin.h>

#include <ringleader/core/status.h>
#include <ringleader/ops/collectives.h>

#include <algorithm>

namespace ringleader {

RoundRobin::RoundRobin(std::vector<std::int64_t> counts, int rank)
    : counts_(std::move(counts)), rank_(static_cast<std::size_t>(rank)) {}

std::int64_t RoundRobin::before_round(std::int64_t round) const {
  std::int64_t sum = 0;
  for (const std::int64_t count : counts_) sum += std::min(count, round);
  return sum;
}

std::int64_t RoundRobin::local_before(std::int64_t global) const {
  // The last round that begins at or before `global`.
  std::int64_t low = 0;
  std::int64_t high = *std::max_element(counts_.begin(), counts_.end());
  while (low < high) {
    const std::int64_t middle = high - (high - low) / 2;
    if (before_round(middle) <= global) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  std::int64_t left = global - before_round(low);
  if (counts_[rank_] <= low) return counts_[rank_];
  for (std::size_t rank = 0; rank < rank_; ++rank) left -= counts_[rank] > low ? 1 : 0;
  return low + (left > 0 ? 1 : 0);
}

std::vector<std::int64_t> gather_counts(const std::string& name, std::int64_t count,
                                        ProcessSet process_set) {
  return allgather(name, TensorView(&count, {1}), process_set).to_vector<std::int64_t>();
}

}  // namespace ringleader
