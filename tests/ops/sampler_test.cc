// SPDX-License-Identifier: Apache-2.0
#include "../support/catch.h"

#include <ringleader/ops/distributed_sampler.h>

#include <algorithm>
#include <map>
#include <set>

using namespace ringleader;

namespace {

std::vector<std::vector<std::int64_t>> deal(std::int64_t count, int size, SamplerOptions options,
                                            std::uint64_t epoch) {
  std::vector<std::vector<std::int64_t>> hands;
  options.size = size;
  for (options.rank = 0; options.rank < size; ++options.rank) {
    hands.push_back(DistributedSampler(count, options).indices(epoch));
  }
  return hands;
}

}  // namespace

TEST_CASE("with padding every sample is used and the ranks get equally many") {
  for (const std::int64_t count : {1, 5, 12, 100}) {
    std::map<std::int64_t, int> uses;
    for (const auto& hand : deal(count, 4, {}, 3)) {
      CHECK(hand.size() == static_cast<std::size_t>((count + 3) / 4));
      for (const std::int64_t index : hand) ++uses[index];
    }
    CHECK(uses.size() == static_cast<std::size_t>(count));
    CHECK(uses.rbegin()->first == count - 1);
  }
}

TEST_CASE("with dropping no sample is used twice") {
  SamplerOptions options;
  options.tail = Tail::drop;
  std::set<std::int64_t> seen;
  for (const auto& hand : deal(103, 4, options, 0)) {
    CHECK(hand.size() == 25);
    for (const std::int64_t index : hand) CHECK(seen.insert(index).second);
  }
}

TEST_CASE("the order depends on seed and epoch and on nothing else") {
  SamplerOptions seeded;
  seeded.seed = 7;
  CHECK(deal(50, 2, seeded, 1) == deal(50, 2, seeded, 1));
  CHECK(deal(50, 2, seeded, 1) != deal(50, 2, seeded, 2));
  CHECK(deal(50, 2, seeded, 1) != deal(50, 2, {}, 1));
  SamplerOptions plain;
  plain.shuffle = false;
  CHECK(deal(4, 2, plain, 9) == std::vector<std::vector<std::int64_t>>{{0, 2}, {1, 3}});
}

TEST_CASE("two ranks see in every step what one rank sees with twice the batch") {
  const auto one = deal(64, 1, {}, 5)[0];
  const auto two = deal(64, 2, {}, 5);
  constexpr std::size_t kBatch = 8;
  for (std::size_t step = 0; step < 4; ++step) {
    std::multiset<std::int64_t> global(
        one.begin() + static_cast<std::ptrdiff_t>(step * 2 * kBatch),
        one.begin() + static_cast<std::ptrdiff_t>((step + 1) * 2 * kBatch));
    std::multiset<std::int64_t> dealt;
    for (const auto& hand : two) {
      dealt.insert(hand.begin() + static_cast<std::ptrdiff_t>(step * kBatch),
                   hand.begin() + static_cast<std::ptrdiff_t>((step + 1) * kBatch));
    }
    CHECK(dealt == global);
  }
}

TEST_CASE("a permutation is uniform enough") {
  std::vector<int> first(10, 0);
  for (std::uint64_t epoch = 0; epoch < 10000; ++epoch) {
    SamplerOptions options;
    options.rank = 0;
    options.size = 1;
    ++first[static_cast<std::size_t>(DistributedSampler(10, options).indices(epoch)[0])];
  }
  for (const int count : first) CHECK(std::abs(count - 1000) < 150);  // 5 standard deviations
}
