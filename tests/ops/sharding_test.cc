// SPDX-License-Identifier: Apache-2.0
//
// Optimizer state divided among the ranks, around slots; on 1 to 4 ranks under mpirun.
#include "../support/catch.h"
#include "outcome.h"

#include <ringleader/ringleader.h>

#include <cmath>
#include <cstring>
#include <map>

using namespace ringleader;
using ringleader::test::outcome_of;

namespace {

constexpr auto kMean = GradientMeaning::mean;

/// Adam over any slots: state by the address of the parameter.
class Adam {
 public:
  void operator()(const std::vector<Slot>& slots) {
    ++steps_;
    for (const Slot& slot : slots) {
      auto* const values = static_cast<float*>(slot.parameter.data());
      const auto* const slopes = static_cast<const float*>(slot.gradient.data());
      const auto count = static_cast<std::size_t>(slot.parameter.count());
      auto& [first, second] = moments_[values];
      first.resize(count);
      second.resize(count);
      for (std::size_t i = 0; i < count; ++i) {
        first[i] = 0.9F * first[i] + 0.1F * slopes[i];
        second[i] = 0.99F * second[i] + 0.01F * slopes[i] * slopes[i];
        values[i] -= 0.01F * first[i] / (std::sqrt(second[i]) + 1e-6F);
      }
    }
  }
  std::size_t state_elements() const {
    std::size_t count = 0;
    for (const auto& [address, moments] : moments_) count += moments.first.size();
    return count;
  }

 private:
  int steps_ = 0;
  std::map<float*, std::pair<std::vector<float>, std::vector<float>>> moments_;
};

/// Tensors of awkward sizes in two groups.
struct Model {
  std::vector<std::vector<float>> weights;
  std::vector<std::vector<float>> gradients;

  Model() {
    for (const std::size_t count : {7, 3000, 1, 50'000, 0, 1'200'000, 13}) {
      weights.emplace_back(count);
      gradients.emplace_back(count);
      for (std::size_t i = 0; i < count; ++i) {
        weights.back()[i] = static_cast<float>(std::sin(0.1 * static_cast<double>(i)));
      }
    }
  }
  std::vector<Slot> slots() {
    std::vector<Slot> slots;
    for (std::size_t t = 0; t < weights.size(); ++t) {
      slots.push_back({"w" + std::to_string(t), weights[t], gradients[t], {}, {}, t < 3 ? 0 : 1});
    }
    return slots;
  }
  void compute(int step) {
    for (std::size_t t = 0; t < weights.size(); ++t) {
      for (std::size_t i = 0; i < weights[t].size(); ++i) {
        const double at = 0.01 * static_cast<double>(i * (t + 1)) + rank() + 3 * step;
        gradients[t][i] = static_cast<float>(std::sin(at)) + 0.1F * weights[t][i];
      }
    }
  }
};

OptimizerOptions sharded() {
  OptimizerOptions options;
  options.name = "sharded";
  options.sharding = Sharding::optimizer_state;
  return options;
}

}  // namespace

TEST_CASE("sharded state: the parameters of the replicated optimizer, bit by bit") {
  const bool announces = GENERATE(false, true);
  Model whole;
  Model divided;
  Adam reference;
  Adam adam;
  DistributedOptimizer replicated(
      whole.slots(), [&](const std::vector<Slot>& slots) { reference(slots); }, kMean);
  DistributedOptimizer optimizer(
      divided.slots(), [&](const std::vector<Slot>& slots) { adam(slots); }, kMean, sharded());
  for (int step = 0; step < 3; ++step) {
    whole.compute(step);
    replicated.step();
    divided.compute(step);
    for (std::size_t i = divided.weights.size(); announces && i-- > 0;) optimizer.ready(i);
    optimizer.step();
    for (std::size_t t = 0; t < whole.weights.size(); ++t) {
      REQUIRE(whole.weights[t] == divided.weights[t]);
    }
  }
  // Shares of the buckets begin on cache lines.
  const std::size_t share = reference.state_elements() / static_cast<std::size_t>(size());
  CHECK(adam.state_elements() <= share + std::size_t{6} * 16);
  CHECK(adam.state_elements() + std::size_t{6} * 16 * static_cast<std::size_t>(size()) >= share);
}

TEST_CASE("sharded state: the bytes of one allreduce travel") {
  std::vector<float> weight(64 * 1200, 1.F);
  std::vector<float> gradient(weight.size(), 1.F);
  DistributedOptimizer optimizer(
      std::vector<Slot>{{"w", weight, gradient, {}}}, [](const std::vector<Slot>&) {}, kMean,
      sharded());
  optimizer.step();
  barrier();
  const std::uint64_t before = counters().message_bytes;
  optimizer.step();
  const std::uint64_t travelled = counters().message_bytes - before;
  // 2 (P-1)/P n, which is allreduce's (collectives/README.md). Nothing where all ranks share
  // memory.
  const auto others = static_cast<std::uint64_t>(size() - 1);
  const std::size_t share = weight.size() * sizeof(float) / static_cast<std::size_t>(size());
  const std::uint64_t expected = 2 * others * share;
  // And what the ranks say of the step, in an allreduce of 26 numbers.
  const std::uint64_t most = expected + 2 * others * 26 * sizeof(float);
  const bool right = travelled == 0 || (size() != 3 && travelled >= expected && travelled <= most);
  INFO(travelled << " bytes, expected " << expected);
  CHECK(right);
}

TEST_CASE("sharded state: what cannot be is refused, with the reason") {
  Model model;
  const auto refused = [&](auto step, const OptimizerOptions& options) {
    return outcome_of([&] { DistributedOptimizer o(model.slots(), step, kMean, options); })
        .message();
  };
  CHECK(refused([] {}, sharded()).find("not known to update every element by itself") !=
        std::string::npos);
}
