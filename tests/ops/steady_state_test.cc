// SPDX-License-Identifier: Apache-2.0
//
// What a step of an armed plan costs beside the bytes that travel: no control message, and no
// allocation in any thread of this process.
#include "../support/catch.h"
#include "../support/count_allocations.h"

#include <ringleader/ringleader.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

using namespace ringleader;

namespace {

struct Cost {
  std::uint64_t messages = 0;
  std::uint64_t allocations = 0;
};

/// Messages of 100 steps after those in which plans are armed, and allocations of the ten of them
/// in which there were fewest: memory grows when more is in flight than ever before, but not in
/// every step.
Cost cost_of(const OptimizerOptions& options, bool clips) {
  std::vector<std::vector<float>> weights;
  std::vector<std::vector<float>> gradients;
  std::vector<Slot> slots;
  for (const std::size_t count : {40'000U, 7U, 3000U, 1'200'000U, 13U}) {
    weights.emplace_back(count, 1.F);
    gradients.emplace_back(count, 0.5F);
  }
  for (std::size_t t = 0; t < weights.size(); ++t) {
    slots.push_back({"w" + std::to_string(t), weights[t], gradients[t], {}});
  }
  DistributedOptimizer optimizer(
      slots, [](const std::vector<Slot>&) {}, GradientMeaning::mean, options);
  const auto step = [&] {
    for (std::size_t t = weights.size(); t-- > 0;) optimizer.ready(t);
    if (clips) optimizer.clip_gradient_norm(1.0);
    optimizer.step();
  };
  for (int i = 0; i < 50; ++i) step();
  barrier();
  for (int i = 0; i < 3; ++i) step();  // in which the last of the barrier's messages come
  const Counters before = counters();
  std::uint64_t least = ~std::uint64_t{0};
  for (int window = 0; window < 10; ++window) {
    const std::uint64_t allocated = test::allocations();
    for (int i = 0; i < 10; ++i) step();
    least = std::min(least, test::allocations() - allocated);
  }
  const Cost cost{counters().control_messages - before.control_messages, least};
  for (int i = 0; i < 3; ++i) step();  // before the first of what comes next
  return cost;
}

}  // namespace

TEST_CASE("a step of an armed plan sends no control message and allocates nothing") {
  for (const Sharding sharding : {Sharding::none, Sharding::optimizer_state}) {
    for (const Compression compression : {Compression::none, Compression::bf16}) {
      for (const bool clips : {false, true}) {
        OptimizerOptions options;
        options.sharding = sharding;
        options.compression = compression;
        INFO("sharding " << static_cast<int>(sharding) << ", compression "
                         << static_cast<int>(compression) << ", clips " << clips);
        const Cost cost = cost_of(options, clips);
        CHECK(cost.messages == 0);
        CHECK(cost.allocations == 0);
      }
    }
  }
}
