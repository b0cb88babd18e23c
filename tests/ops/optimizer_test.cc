// SPDX-License-Identifier: Apache-2.0
//
// DistributedOptimizer on 1 to 4 ranks under mpirun.
#include "../support/catch.h"
#include "outcome.h"

#include <ringleader/ringleader.h>

#include <cmath>
#include <string>
#include <vector>

using namespace ringleader;
using ringleader::test::outcome_of;

namespace {

/// Two parameters, plain gradient descent.
struct Sgd {
  std::vector<std::vector<float>> values = {std::vector<float>(3, 1.f), std::vector<float>(5, 2.f)};
  std::vector<std::vector<float>> slopes = {std::vector<float>(3), std::vector<float>(5)};
  int steps = 0;
  static constexpr GradientMeaning gradient_meaning = GradientMeaning::mean;

  std::vector<std::vector<float>>& parameters() { return values; }
  std::vector<std::vector<float>>& gradients() { return slopes; }
  std::vector<std::string> names() const { return {"weight", "bias"}; }
  void step() {
    ++steps;
    for (std::size_t p = 0; p < values.size(); ++p) {
      for (std::size_t i = 0; i < values[p].size(); ++i) values[p][i] -= slopes[p][i];
    }
  }
  void fill(float value) {
    for (auto& slope : slopes) slope.assign(slope.size(), value);
  }
};

float mean_of_ranks() { return static_cast<float>(size() - 1) / 2; }

}  // namespace

TEST_CASE("three lines: parameters are broadcast and gradients averaged") {
  Sgd sgd;
  sgd.values[0].assign(3, static_cast<float>(rank() + 1));
  DistributedOptimizer optimizer(sgd);
  CHECK(sgd.values[0][0] == 1.f);
  for (int i = 0; i < 5; ++i) {
    sgd.fill(static_cast<float>(rank()));
    optimizer.step();
  }
  CHECK(optimizer->steps == 5);
  CHECK(sgd.values[0][2] == 1.f - 5 * mean_of_ranks());
  CHECK(sgd.values[1][4] == 2.f - 5 * mean_of_ranks());
}

TEST_CASE("after two steps a step sends no control message") {
  Sgd sgd;
  DistributedOptimizer optimizer(sgd);
  std::uint64_t before = 0;
  for (int i = 0; i < 20; ++i) {
    if (i == 2) before = counters().control_messages;
    sgd.fill(1.f);
    optimizer.ready(1);
    optimizer.ready(0);
    optimizer.step();
  }
  CHECK(counters().control_messages == before);
}

TEST_CASE("gradients that are not announced contribute zeros") {
  Sgd sgd;
  DistributedOptimizer optimizer(sgd);
  for (int i = 0; i < 3; ++i) {
    sgd.fill(4.f);
    if (rank() == 0) optimizer.ready(0);  // the others have no gradient for parameter 0
    optimizer.ready(1);
    optimizer.synchronize();
    CHECK(sgd.slopes[0][0] == 4.f / static_cast<float>(size()));
    CHECK(sgd.slopes[1][0] == 4.f);
    optimizer.step();
  }
}

TEST_CASE("synchronize, clip, step does not reduce twice") {
  Sgd sgd;
  DistributedOptimizer optimizer(sgd);
  sgd.fill(static_cast<float>(rank()));
  optimizer.synchronize();
  for (auto& slope : sgd.slopes) {
    for (float& value : slope) value = std::min(value, 0.25f);
  }
  optimizer.step();
  CHECK(sgd.values[0][0] == 1.f - std::min(mean_of_ranks(), 0.25f));
}

TEST_CASE("accumulating over two passes equals one pass of twice the size") {
  Sgd sgd;
  OptimizerOptions options;
  options.name = "accumulating";
  options.passes_per_step = 2;
  DistributedOptimizer optimizer(sgd, options);
  for (int i = 0; i < 3; ++i) {
    sgd.fill(0.f);
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t p = 0; p < 2; ++p) {
        for (float& value : sgd.slopes[p]) value += static_cast<float>(rank() + pass);
        optimizer.ready(p);
      }
    }
    const Status status = outcome_of([&] { optimizer.ready(0); });
    CHECK(status.code() == Code::invalid_argument);
    optimizer.step();
  }
  CHECK(sgd.values[1][0] == 2.f - 3 * (mean_of_ranks() + 0.5f));
}

TEST_CASE("sums are added up when the gradient means a sum") {
  std::vector<double> weight(4, 0.0);
  std::vector<double> gradient(4, 0.0);
  OptimizerOptions options;
  options.name = "sum";
  DistributedOptimizer optimizer(
      {Slot{"w", weight, gradient}},
      [&] {
        for (std::size_t i = 0; i < 4; ++i) weight[i] -= gradient[i];
      },
      GradientMeaning::sum, options);
  gradient.assign(4, 1.0);
  optimizer.step();
  CHECK(weight[3] == -static_cast<double>(size()));
}

TEST_CASE("ranks with different networks learn the first difference") {
  if (size() == 1) return;
  Sgd sgd;
  if (rank() == 1) {
    sgd.values[1].resize(6);
    sgd.slopes[1].resize(6);
  }
  const Status status = outcome_of([&] { DistributedOptimizer optimizer(sgd); });
  CHECK(status.code() == Code::mismatch);
  for (const char* part : {"parameter 1", "'bias' f32 [5]", "rank 1 has 'bias' f32 [6]"}) {
    CHECK(status.message().find(part) != std::string::npos);
  }
}

TEST_CASE("an optimizer that cannot be described is refused") {
  std::vector<float> weight(4);
  std::vector<float> gradient(3);
  const auto wrap = [&](std::vector<Slot> slots) {
    return outcome_of([&] {
             DistributedOptimizer optimizer(
                 slots, [] {}, GradientMeaning::mean);
           })
        .code();
  };
  CHECK(wrap({}) == Code::invalid_argument);
  CHECK(wrap({Slot{"w", weight, gradient}}) == Code::invalid_argument);
  CHECK(wrap({Slot{"w", weight, weight}, Slot{"w", weight, weight}}) == Code::invalid_argument);
}

TEST_CASE("a metric in the middle of a step does not disturb the gradients") {
  Sgd sgd;
  DistributedOptimizer optimizer(sgd);
  for (int i = 0; i < 10; ++i) {
    sgd.fill(1.f);
    optimizer.ready(1);
    std::vector<float> loss = {static_cast<float>(rank())};
    allreduce("loss", loss);
    CHECK(loss[0] == mean_of_ranks());
    optimizer.ready(0);
    optimizer.step();
  }
  CHECK(sgd.values[0][0] == -9.f);
}

TEST_CASE("ranks that run out of data join while the others go on") {
  Sgd sgd;
  DistributedOptimizer optimizer(sgd);
  const int steps = 3 + 2 * rank();
  for (int i = 0; i < steps; ++i) {
    sgd.fill(1.f);
    optimizer.step();
  }
  CHECK(join() == size() - 1);
  // All are back; rank r missed the steps in which it had joined.
  sgd.fill(1.f);
  optimizer.step();
  float expected = 1.f;
  for (int i = 0; i < steps; ++i) {
    int present = 0;
    for (int r = 0; r < size(); ++r) present += i < 3 + 2 * r ? 1 : 0;
    expected -= static_cast<float>(present) / static_cast<float>(size());
  }
  CHECK(std::abs(sgd.values[0][0] - (expected - 1.f)) < 1e-5f);
}

TEST_CASE("gradients that may be moved are reduced in shared memory, and come back") {
  std::vector<float> weight = {1.f, 2.f, 3.f};
  std::vector<float> home = {0.f, 5.f, 0.f};
  float* gradient = home.data();
  Slot slot{"weight", TensorView(weight), TensorView(home)};
  slot.move_gradient = [&](void* to) { gradient = static_cast<float*>(to); };
  {
    DistributedOptimizer optimizer(
        std::vector<Slot>{slot}, [&] { weight[1] -= gradient[1]; }, GradientMeaning::mean);
    CHECK(gradient != home.data());
    CHECK(gradient[1] == 5.f);  // what was there moved with it
    for (int i = 0; i < 3; ++i) {
      gradient[1] = static_cast<float>(rank());
      optimizer.step();
    }
    CHECK(weight[1] == 2.f - 3 * mean_of_ranks());
  }
  CHECK(gradient == home.data());
  CHECK(home[1] == mean_of_ranks());
}

TEST_CASE("shared memory is memory") {
  std::vector<double, SharedAllocator<double>> values(1000, 1.5);
  values.resize(100'000, 2.5);
  CHECK(values[999] == 1.5);
  CHECK(values[99'999] == 2.5);
  void* const none = allocate(0);
  CHECK(none != nullptr);
  ringleader::free(none);
  ringleader::free(nullptr);
  allreduce("shared", values, values, ReduceOp::sum);
  CHECK(values[0] == 1.5 * size());
}
