// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/distributed_sampler.h>

#include <ringleader/core/status.h>
#include <ringleader/ops/session.h>

#include <fmt/core.h>

#include <numeric>
#include <utility>

namespace ringleader {
namespace {

/// SplitMix64 (G. Steele et al., "Fast splittable pseudorandom number generators", 2014): the same
/// numbers everywhere, which the standard library's distributions do not promise.
class SplitMix64 {
 public:
  explicit SplitMix64(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }

  /// Uniform in [0, bound), without bias: numbers beyond the last whole multiple are drawn again.
  std::uint64_t below(std::uint64_t bound) {
    const std::uint64_t whole = UINT64_MAX - UINT64_MAX % bound;
    std::uint64_t value = next();
    while (value >= whole) value = next();
    return value % bound;
  }

 private:
  std::uint64_t state_;
};

std::vector<std::int64_t> permutation(std::int64_t count, std::uint64_t seed, std::uint64_t epoch) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  SplitMix64 mix(seed);
  SplitMix64 random(mix.next() + epoch);
  for (std::size_t i = order.size(); i > 1; --i) {  // Fisher and Yates
    std::swap(order[i - 1], order[random.below(i)]);
  }
  return order;
}

}  // namespace

DistributedSampler::DistributedSampler(std::int64_t count, const SamplerOptions& options)
    : count_(count), options_(options) {
  if (options_.rank < 0) options_.rank = ringleader::rank();
  if (options_.size < 0) options_.size = ringleader::size();
  if (count < 1 || options_.rank >= options_.size) {
    throw Error(Status(Code::invalid_argument,
                       fmt::format("DistributedSampler: {} samples for rank {} of {}", count,
                                   options_.rank, options_.size)));
  }
}

std::int64_t DistributedSampler::count_per_rank() const {
  const std::int64_t whole = count_ / options_.size;
  return options_.tail == Tail::pad && count_ % options_.size != 0 ? whole + 1 : whole;
}

std::vector<std::int64_t> DistributedSampler::indices(std::uint64_t epoch) const {
  std::vector<std::int64_t> order;
  if (options_.shuffle) {
    order = permutation(count_, options_.seed, epoch);
  } else {
    order.resize(static_cast<std::size_t>(count_));
    std::iota(order.begin(), order.end(), 0);
  }
  std::vector<std::int64_t> mine;
  mine.reserve(static_cast<std::size_t>(count_per_rank()));
  for (std::int64_t i = 0; i < count_per_rank(); ++i) {
    const std::int64_t position = i * options_.size + options_.rank;
    mine.push_back(order[static_cast<std::size_t>(position % count_)]);
  }
  return mine;
}

}  // namespace ringleader
