// SPDX-License-Identifier: Apache-2.0
//
// A step is a transaction: however it ends, the next one averages again; ranks that do not end it
// alike are told. On 1 to 4 ranks under mpirun.
#include "../support/catch.h"
#include "outcome.h"

#include <ringleader/ringleader.h>

#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

using namespace ringleader;
using ringleader::test::outcome_of;

namespace {

constexpr auto kMean = GradientMeaning::mean;
constexpr auto kSum = GradientMeaning::sum;

/// Two parameters of four elements in flat arrays, and plain gradient descent that may throw.
struct Model {
  std::vector<float> weight = std::vector<float>(8, 0.F);
  std::vector<float> gradient = std::vector<float>(8, 0.F);
  bool update_throws = false;

  std::vector<Slot> slots() {
    return flat_slots(weight.data(), gradient.data(), {{"first", 4}, {"last", 4}});
  }
  std::function<void()> update() {
    return [this] {
      if (update_throws) throw std::runtime_error("not a number");
      for (std::size_t i = 0; i < 8; ++i) weight[i] -= gradient[i];
    };
  }
  void fill(float value) { gradient.assign(8, value); }
};

float own() { return static_cast<float>(rank() + 1); }
float mean() { return static_cast<float>(size() + 1) / 2; }
float sum() { return mean() * static_cast<float>(size()); }

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a step that is left out after synchronize() is followed by one that averages") {
  for (const GradientMeaning meaning : {kMean, kSum}) {
    for (const bool announces : {false, true}) {
      for (const bool clips : {false, true}) {
        Model model;
        DistributedOptimizer optimizer(model.slots(), model.update(), meaning);
        for (int step = 0; step < 5; ++step) {
          const bool overflows = step == 1 || step == 2;
          model.fill(overflows ? std::numeric_limits<float>::infinity() : own());
          for (std::size_t i = 2; announces && i-- > 0;) optimizer.ready(i);
          if (clips) {
            if (!std::isfinite(optimizer.clip_gradient_norm(1e6))) continue;
          } else {
            optimizer.synchronize();
            if (!std::isfinite(model.gradient[0])) continue;
          }
          optimizer.step();
        }
        INFO((meaning == kMean ? "mean" : "sum") << (announces ? ", announced" : ""));
        CHECK(model.weight[0] == -3 * (meaning == kMean ? mean() : sum()));
        CHECK(model.weight[7] == model.weight[0]);
      }
    }
  }
}

TEST_CASE(
    "gradients that the program changes after synchronize(), alike on all ranks, are stepped") {
  for (const GradientMeaning meaning : {kMean, kSum}) {
    Model model;
    DistributedOptimizer optimizer(model.slots(), model.update(), meaning);
    for (int step = 0; step < 3; ++step) {
      model.fill(own());
      optimizer.synchronize();
      for (float& value : model.gradient) value *= 0.5F;  // a loss scale
      optimizer.step();
    }
    CHECK(model.weight[3] == -1.5F * (meaning == kMean ? mean() : sum()));
  }
}

TEST_CASE("an update that throws on all ranks is followed by a step that averages") {
  Model model;
  DistributedOptimizer optimizer(model.slots(), model.update(), kMean);
  for (int step = 0; step < 4; ++step) {
    model.fill(own());
    model.update_throws = step == 1;
    if (model.update_throws) {
      CHECK_THROWS_AS(optimizer.step(), std::runtime_error);
    } else {
      optimizer.step();
    }
  }
  CHECK(model.weight[0] == -3 * mean());
}

TEST_CASE("a backward pass that throws halfway gives its step up") {
  enum class Way { abandons, goes_on };
  for (const Way way : {Way::abandons, Way::goes_on}) {
    Model model;
    DistributedOptimizer optimizer(model.slots(), model.update(), kMean);
    for (int step = 0; step < 7; ++step) {
      model.fill(own());
      optimizer.ready(1);
      if (step == 4) {
        if (way == Way::abandons) optimizer.abandon_step();
        continue;
      }
      optimizer.ready(0);
      optimizer.step();
    }
    CHECK(model.weight[0] == -6 * mean());
    CHECK(model.weight[7] == -6 * mean());
  }
}

TEST_CASE("a second backward pass in one step is refused, and the advice is right") {
  Model model;
  DistributedOptimizer optimizer(model.slots(), model.update(), kMean);
  for (int step = 0; step < 3; ++step) {
    model.fill(own());
    optimizer.ready(1);
    optimizer.ready(0);
    const Status status = outcome_of([&] { optimizer.ready(1); });
    CHECK(status.code() == Code::invalid_argument);
    CHECK(contains(status.message(), "no_sync()"));
    CHECK(contains(status.message(), "'last'"));
    CHECK_FALSE(contains(status.message(), "passes_per_step"));
    optimizer.step();  // with what the first has computed
  }
  CHECK(model.weight[0] == -3 * mean());
}

TEST_CASE("ranks that disagree about giving a step up are told which, and go on together") {
  if (size() == 1) return;
  Model model;
  DistributedOptimizer optimizer(model.slots(), model.update(), kMean);
  model.fill(own());
  optimizer.step();
  model.fill(own());
  const Status status = outcome_of([&] {
    if (rank() == 1) {
      optimizer.abandon_step();
    } else {
      optimizer.step();
    }
  });
  CHECK(status.code() == Code::mismatch);
  CHECK(contains(status.message(), "step 2"));
  if (size() > 2) CHECK(contains(status.message(), "rank 1 gives the step up"));
  for (int step = 0; step < 2; ++step) {
    model.fill(own());
    optimizer.step();
  }
  CHECK(model.weight[0] == -3 * mean());
}

TEST_CASE("a rank that leaves a step out alone is found out in the next step") {
  if (size() == 1) return;
  Model model;
  DistributedOptimizer optimizer(model.slots(), model.update(), kMean);
  model.fill(own());
  optimizer.synchronize();
  if (rank() != 0) optimizer.step();
  model.fill(own());
  const Status status = outcome_of([&] { optimizer.step(); });
  CHECK(status.code() == Code::mismatch);
  CHECK(contains(status.message(), "left out"));
}

TEST_CASE("settings that part ways are noticed without a message of their own") {
  struct Sgd {
    std::vector<std::vector<float>> weights{std::vector<float>(4, 0.F)};
    std::vector<std::vector<float>> slopes{std::vector<float>(4, 1.F)};
    double rate = 0.5;
    auto& parameters() { return weights; }
    auto& gradients() { return slopes; }
    std::vector<std::pair<std::string, double>> scalars() const {
      return {{"the learning rate", rate}};
    }
    void step() {
      for (float& w : weights[0]) w -= static_cast<float>(rate);
    }
  };
  if (size() == 1) return;
  Sgd sgd;
  DistributedOptimizer optimizer(sgd, kMean);
  for (int step = 0; step < 5; ++step) optimizer.step();
  barrier();
  const std::uint64_t before = counters().control_messages;
  for (int step = 0; step < 40; ++step) optimizer.step();
  CHECK(counters().control_messages == before);
  barrier();
  if (rank() == 1) sgd.rate = 0.25;
  const Status status = outcome_of([&] {
    for (int step = 0; step < 20; ++step) optimizer.step();
  });
  CHECK(status.code() == Code::mismatch);
  CHECK(contains(status.message(), "the learning rate: rank 0 has 0.5, rank 1 has 0.25"));
}

TEST_CASE("optimizers with different numbers of settings are refused by that number") {
  if (size() == 1) return;
  std::vector<std::pair<std::string, double>> settings = {{"a", 1.0}, {"b", 2.0}};
  if (rank() == 1) settings.push_back({"c", 3.0});
  const Status status = outcome_of([&] { compare_scalars(settings, OptimizerOptions(), {}); });
  CHECK(contains(status.message(), "the number of its settings: rank 0 has 2, rank 1 has 3"));
}

TEST_CASE("clipping refuses norms that are none, and can refuse results that are not finite") {
  Model model;
  DistributedOptimizer optimizer(model.slots(), model.update(), kMean);
  model.fill(own());
  CHECK(outcome_of([&] { optimizer.clip_gradient_norm(-1.0); }).code() == Code::invalid_argument);
  CHECK(outcome_of([&] { optimizer.clip_gradient_norm(std::nan("")); }).code() ==
        Code::invalid_argument);
  model.fill(std::numeric_limits<float>::infinity());
  CHECK(std::isinf(optimizer.clip_gradient_norm(1.0)));
  CHECK(model.gradient[0] == std::numeric_limits<float>::infinity());  // not NaN everywhere
  const Status status = outcome_of([&] { optimizer.clip_gradient_norm(1.0, true); });
  CHECK(contains(status.message(), "norm of the gradients is inf"));
  optimizer.abandon_step();
  model.fill(own());
  optimizer.step();
  CHECK(model.weight[0] == -mean());
}

TEST_CASE("what the program changes after wrapping works, or is refused by name") {
  struct Sgd {
    std::vector<std::vector<float>> weights{std::vector<float>(4, 0.F), std::vector<float>(2, 0.F)};
    std::vector<std::vector<float>> slopes = weights;
    auto& parameters() { return weights; }
    auto& gradients() { return slopes; }
    std::vector<std::string> names() const { return {"weight", "bias"}; }
    void step() {
      for (std::size_t p = 0; p < slopes.size() && p < weights.size(); ++p) {
        for (std::size_t i = 0; i < slopes[p].size(); ++i) weights[p][i] -= slopes[p][i];
      }
    }
  };
  Sgd sgd;
  DistributedOptimizer optimizer(sgd, kMean);
  for (int step = 0; step < 3; ++step) {  // at another place in each
    for (auto& slope : sgd.slopes) {
      std::vector<float> other(slope.size(), own());
      slope.swap(other);
    }
    std::vector<float> moved(sgd.weights[0]);
    sgd.weights[0].swap(moved);
    optimizer.step();
  }
  CHECK(sgd.weights[0][0] == -3 * mean());
  CHECK(sgd.weights[1][1] == -3 * mean());
  const auto refused = [&] { return outcome_of([&] { optimizer.step(); }).message(); };
  sgd.slopes[1].resize(3);
  CHECK(contains(refused(), "'bias' has 2 elements and a gradient of 3"));
  sgd.slopes[1].resize(2);
  sgd.weights.emplace_back(1);
  sgd.slopes.emplace_back(1);
  CHECK(contains(refused(), "has 3 parameters, and had 2"));
  sgd.weights.pop_back();
  sgd.slopes.pop_back();
  sgd.slopes[0].assign(4, own());
  sgd.slopes[1].assign(2, own());
  optimizer.step();
  CHECK(sgd.weights[0][3] == -4 * mean());
}

TEST_CASE("memory that is missing, shared or not aligned is refused with the names") {
  std::vector<float> memory(16, 0.F);
  std::vector<float> gradient(16, 0.F);
  const auto refused = [](std::vector<Slot> slots) {
    return outcome_of([&] {
             DistributedOptimizer optimizer(
                 std::move(slots), [] {}, kMean);
           })
        .message();
  };
  float* const none = nullptr;
  CHECK(contains(refused({{"layer", TensorView(memory.data(), {4}), TensorView(none, {4})}}),
                 "the gradient of 'layer' has no memory"));
  const TensorView first(memory.data(), {8});
  const TensorView second(memory.data() + 4, {8});
  CHECK(contains(refused({{"a", first, TensorView(gradient.data(), {8})},
                          {"b", second, TensorView(gradient.data() + 8, {8})}}),
                 "'b' shares memory with 'a'"));
  CHECK(contains(
      refused({{"a", TensorView(memory.data(), {4}), TensorView(gradient.data(), {4})},
               {"b", TensorView(memory.data() + 8, {4}), TensorView(gradient.data() + 2, {4})}}),
      "the gradient of 'b' shares memory with 'a'"));
  auto* const odd = reinterpret_cast<float*>(reinterpret_cast<char*>(memory.data()) + 1);
  CHECK(contains(refused({{"a", TensorView(odd, {4}), TensorView(gradient.data(), {4})}}),
                 "not aligned"));
  CHECK(contains(refused({}), "no parameters"));
}

TEST_CASE("average over contributors is right in the first step after a rank has joined") {
  Model model;
  OptimizerOptions options;
  options.average_over_contributors = true;
  options.stateless = true;
  DistributedOptimizer optimizer(
      model.slots(), [] {}, kMean, options);
  const int steps = rank() == 0 ? 4 : 8;
  std::optional<JoinGuard> guard(optimizer.join());
  const auto others = static_cast<float>(size() - 1);
  for (int step = 0; step < steps; ++step) {
    model.fill(rank() == 0 ? 1.F : 3.F);
    optimizer.step();
    const float expected = step < 4 ? (1 + 3 * others) / (1 + others) : 3.F;
    CHECK(std::fabs(model.gradient[0] - expected) < 1e-5F);
  }
}

namespace {

/// Momentum over flat arrays, whose state is described or not.
struct Momentum {
  std::vector<float> weight = std::vector<float>(4, 1.F);
  std::vector<float> gradient = std::vector<float>(4, 0.F);
  std::vector<float> velocity = std::vector<float>(4, 0.F);

  std::vector<Slot> slots(bool described) {
    Slot slot{"w", weight, gradient};
    if (described) slot.state = {velocity};
    return {slot};
  }
  std::function<void()> update() {
    return [this] {
      for (std::size_t i = 0; i < 4; ++i) {
        velocity[i] = 0.9F * velocity[i] + gradient[i];
        weight[i] -= 0.1F * velocity[i];
      }
    };
  }
};

}  // namespace

TEST_CASE("join() hands the optimizer's state over, or says that it cannot") {
  for (const bool described : {true, false}) {
    Momentum model;
    DistributedOptimizer optimizer(model.slots(described), model.update(), kMean);
    {
      const auto guard = optimizer.join();
      for (int step = 0; step < 3 + 3 * rank(); ++step) {
        model.gradient.assign(4, 1.F);
        optimizer.step();
      }
    }
    if (!described && size() > 1) {
      const Status status = outcome_of([&] { optimizer.step(); });
      CHECK(contains(status.message(), "Slot::state"));
      continue;
    }
    for (int step = 0; step < 5; ++step) {
      model.gradient.assign(4, 0.1F);
      optimizer.step();
      CHECK(optimizer.parameters_identical());
    }
    if (described) CHECK(optimizer.state_identical());
  }
}

TEST_CASE("wrapping hands over state that the optimizer has, and so does asking for it") {
  Momentum model;
  model.velocity.assign(4, static_cast<float>(rank()));
  DistributedOptimizer optimizer(model.slots(true), model.update(), kMean);
  CHECK(model.velocity[2] == 0.F);
  model.velocity.assign(4, static_cast<float>(rank()));
  CHECK(optimizer.state_identical() == (size() == 1));
  broadcast_optimizer_state(optimizer, size() - 1);
  CHECK(model.velocity[2] == static_cast<float>(size() - 1));
  model.weight[3] = static_cast<float>(rank());
  CHECK(optimizer.parameters_identical() == (size() == 1));
}

TEST_CASE("state that is not known is refused with the reason once steps were made") {
  Momentum model;
  DistributedOptimizer optimizer(model.slots(false), model.update(), kMean);
  broadcast_optimizer_state(optimizer);  // there is none yet
  optimizer.step();
  const Status status = outcome_of([&] { broadcast_optimizer_state(optimizer); });
  CHECK(status.code() == Code::unsupported);
  CHECK(contains(status.message(), "not known"));
}

TEST_CASE("a function over slots steps where its gradients have been moved to") {
  std::vector<float> weight(4, 0.F);
  std::vector<float> home(4, 0.F);
  float* gradient = home.data();
  Slot slot{"w", weight, home};
  slot.move_gradient = [&](void* to) { gradient = static_cast<float*>(to); };
  DistributedOptimizer optimizer(
      std::vector<Slot>{slot},
      [](const std::vector<Slot>& slots) {
        for (const Slot& each : slots) {
          auto* const values = static_cast<float*>(each.parameter.data());
          for (std::int64_t i = 0; i < each.parameter.count(); ++i) {
            values[i] -= static_cast<const float*>(each.gradient.data())[i];
          }
        }
      },
      kMean);
  for (int step = 0; step < 3; ++step) {
    for (int i = 0; i < 4; ++i) gradient[i] = own();
    optimizer.step();
  }
  CHECK(weight[0] == -3 * mean());
}
