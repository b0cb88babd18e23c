// SPDX-License-Identifier: Apache-2.0
//
// What DistributedOptimizer does beyond averaging, on 1 to 4 ranks under mpirun.
#include "../support/catch.h"
#include "model.h"
#include "outcome.h"

#include <ringleader/ringleader.h>

#include <atomic>
#include <cmath>
#include <string>
#include <thread>

using namespace ringleader;
using ringleader::test::Model;
using ringleader::test::outcome_of;

namespace {

constexpr auto kMean = GradientMeaning::mean;

float mean_of_ranks() { return static_cast<float>(size() - 1) / 2; }

}  // namespace

TEST_CASE("no_sync: passes are accumulated and reduced together with the last") {
  Model model;
  DistributedOptimizer optimizer(
      model.slots(), [&] { model.step(); }, kMean);
  const std::uint64_t before = counters().batches;
  {
    const auto guard = optimizer.no_sync();
    model.gradient.assign(4, static_cast<float>(rank()));
    optimizer.ready(0);
    CHECK(outcome_of([&] { optimizer.synchronize(); }).code() == Code::invalid_argument);
  }
  CHECK(counters().batches == before);
  for (float& g : model.gradient) g += static_cast<float>(rank());
  optimizer.ready(0);
  optimizer.step();
  CHECK(model.weight[3] == 1.F - 2 * mean_of_ranks());
}

TEST_CASE("what was accumulated inside no_sync is not missing") {
  Model model;
  DistributedOptimizer optimizer(
      model.slots(), [&] { model.step(); }, kMean);
  optimizer.ready(0);  // this program announces
  optimizer.step();
  {
    const auto guard = optimizer.no_sync();
    model.gradient.assign(4, 2.F);
    optimizer.ready(0);
  }
  optimizer.step();  // the last pass did not use the parameter
  CHECK(model.weight[0] == -1.F);
}

TEST_CASE("join: ranks with fewer steps wait, and all go on with the last one's parameters") {
  Model model;
  DistributedOptimizer optimizer(
      model.slots(), [&] { model.step(); }, kMean);
  {
    const auto guard = optimizer.join();
    for (int i = 0; i <= rank(); ++i) {
      model.gradient.assign(4, 1.F);
      optimizer.step();
    }
  }
  // Step i has size() - i contributors, the others zeros.
  float expected = 1.F;
  for (int i = 0; i < size(); ++i) {
    expected -= static_cast<float>(size() - i) / static_cast<float>(size());
  }
  CHECK(model.weight[2] == Approx(expected));
}

TEST_CASE("clipping by the global norm") {
  Model model(16);
  DistributedOptimizer optimizer(
      model.slots(), [&] { model.step(); }, kMean);
  model.gradient.assign(16, static_cast<float>(2 * rank() + 1));  // the mean is size()
  CHECK(optimizer.clip_gradient_norm(2.0) == Approx(4.0 * size()));
  CHECK(model.gradient[7] == Approx(0.5));
  CHECK(optimizer.clip_gradient_norm(100.0) == Approx(2.0));
  CHECK(model.gradient[7] == Approx(0.5));
  optimizer.step();
  CHECK(model.weight[0] == Approx(0.5));
}

TEST_CASE("compression halves the bytes and keeps to its error bound") {
  const std::vector<std::pair<Compression, double>> kinds = {{Compression::fp16, 0x1p-11},
                                                             {Compression::bf16, 0x1p-8}};
  for (const auto& [compression, unit] : kinds) {
    Model model(10'000);
    OptimizerOptions options;
    options.compression = compression;
    DistributedOptimizer optimizer(
        model.slots(), [&] { model.step(); }, kMean, options);
    for (int step = 0; step < 3; ++step) {
      std::vector<double> exact(model.gradient.size(), 0.0);
      double absolute = 0;
      for (int r = 0; r < size(); ++r) {
        for (std::size_t i = 0; i < exact.size(); ++i) {
          const auto value = static_cast<float>(std::sin(0.37 * static_cast<double>(i) + r + step));
          exact[i] += static_cast<double>(value) / size();
          absolute = std::max(absolute, std::abs(static_cast<double>(value)));
          if (r == rank()) model.gradient[i] = value;
        }
      }
      optimizer.synchronize();
      // Each input rounds by at most unit/2 of itself, and so does the result.
      for (std::size_t i = 0; i < exact.size(); ++i) {
        REQUIRE(std::abs(model.gradient[i] - exact[i]) <= 1.01 * unit * absolute);
      }
      optimizer.step();
    }
  }
}

TEST_CASE("a parameter cannot be wrapped twice") {
  Model model;
  DistributedOptimizer optimizer(
      model.slots(), [] {}, kMean);
  OptimizerOptions options;
  options.name = "second";
  const Status status = outcome_of([&] {
    DistributedOptimizer again(
        model.slots(), [] {}, kMean, options);
  });
  CHECK(status.code() == Code::invalid_argument);
  CHECK(status.message().find("'weight' is wrapped by DistributedOptimizer 'optimizer'") !=
        std::string::npos);
}

TEST_CASE("a second thread in step() is refused") {
  Model model;
  std::atomic<bool> inside = false;
  std::atomic<bool> leave = false;
  DistributedOptimizer optimizer(
      model.slots(),
      [&] {
        inside = true;
        while (!leave) std::this_thread::yield();
      },
      kMean);
  std::thread first([&] { optimizer.step(); });
  while (!inside) std::this_thread::yield();
  const Status status = outcome_of([&] { optimizer.step(); });
  leave = true;
  first.join();
  CHECK(status.code() == Code::invalid_argument);
  CHECK(status.message().find("another thread") != std::string::npos);
  optimizer.step();
}

TEST_CASE("a step that is given up does not touch memory that is gone") {
  for (int i = 0; i < 3; ++i) {
    Model model(100'000);
    Model other(100'000);
    std::vector<Slot> slots = model.slots();
    slots.push_back({"other", other.weight, other.gradient, {}});
    DistributedOptimizer optimizer(
        std::move(slots), [] {}, kMean);
    optimizer.ready(1);  // and no step
  }
}

namespace {

struct Growing {
  static constexpr GradientMeaning gradient_meaning = kMean;
  std::vector<std::vector<float>> values = {{1.F}};
  std::vector<std::vector<float>> slopes = {{0.F}};
  std::vector<std::vector<float>>& parameters() { return values; }
  std::vector<std::vector<float>>& gradients() { return slopes; }
  void step() {}
};

}  // namespace

TEST_CASE("a parameter that is added after wrapping is noticed") {
  Growing growing;
  DistributedOptimizer optimizer(growing);
  optimizer.step();
  growing.values.push_back({2.F});
  growing.slopes.push_back({0.F});
  const Status status = outcome_of([&] { optimizer.step(); });
  CHECK(status.code() == Code::invalid_argument);
  CHECK(status.message().find("has 2 parameters, and had 1") != std::string::npos);
}

namespace {

/// Minimizes by evaluating a closure several times per step, as L-BFGS does.
struct Evaluating {
  std::vector<double> weight = {4.0};
  std::vector<double> gradient = {0.0};
  double rate = 0.25;
};

}  // namespace

template <>
struct ringleader::OptimizerAdapter<Evaluating> {
  static constexpr auto meaning = GradientMeaning::mean;
  static std::vector<Slot> slots(Evaluating& o) { return {{"w", o.weight, o.gradient, {}}}; }
  static void step(Evaluating&) {}
  template <typename Closure>
  static double step(Evaluating& optimizer, Closure evaluate) {
    double loss = 0;
    for (int i = 0; i < 3; ++i) {
      loss = evaluate();
      optimizer.weight[0] -= optimizer.rate * optimizer.gradient[0];
    }
    return loss;
  }
  static std::vector<std::pair<std::string, double>> scalars(const Evaluating& optimizer) {
    return {{"rate", optimizer.rate}};
  }
};

TEST_CASE("closures: every evaluation has the loss and the gradient of all ranks") {
  Evaluating inner;
  DistributedOptimizer optimizer(inner);
  const double target = rank();  // the mean of (w - r)^2 is least at the mean of the ranks
  const auto evaluate = [&] {
    const double gap = inner.weight[0] - target;
    inner.gradient[0] = 2 * gap;
    return gap * gap;
  };
  double loss = 0;
  for (int i = 0; i < 20; ++i) loss = optimizer.step(evaluate);
  CHECK(inner.weight[0] == Approx(mean_of_ranks()).margin(1e-9));
  double least = 0;
  for (int r = 0; r < size(); ++r)
    least += std::pow(mean_of_ranks() - static_cast<float>(r), 2) / size();
  CHECK(loss == Approx(least).margin(1e-9));
}

TEST_CASE("numbers that must agree are compared") {
  if (size() == 1) return;
  Evaluating inner;
  inner.rate = rank() == 1 ? 0.5 : 0.25;
  const Status status = outcome_of([&] { DistributedOptimizer optimizer(inner); });
  CHECK(status.code() == Code::mismatch);
  CHECK(status.message().find("rate: rank 0 has 0.25, rank 1 has 0.5") != std::string::npos);
}
