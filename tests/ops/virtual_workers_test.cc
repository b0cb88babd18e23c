// SPDX-License-Identifier: Apache-2.0
//
// The same bits on any number of ranks, on 1 to 4 of them under mpirun.
#include "../support/catch.h"
#include "model.h"
#include "outcome.h"

#include <ringleader/ringleader.h>

#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>

using namespace ringleader;
using ringleader::test::Model;
using ringleader::test::outcome_of;

namespace {

constexpr auto kMean = GradientMeaning::mean;

/// A number that rounds in every sum: the gradient of one virtual worker at one element.
float worker_gradient(int worker, std::size_t element) {
  return static_cast<float>(std::sin(1.0 + 7.1 * worker + 0.13 * static_cast<double>(element)) *
                            std::pow(10.0, worker % 5));
}

Status try_workers(int workers) {
  Model model;
  OptimizerOptions options;
  options.virtual_workers = workers;
  return outcome_of([&] {
    DistributedOptimizer o(
        model.slots(), [] {}, kMean, options);
  });
}

/// With RINGLEADER_DETERMINISTIC=0 and with the MPI library's collectives there are none.
bool has_virtual_workers(int workers) {
  if (workers % size() != 0) return false;
  return try_workers(workers).message().find("one tree") == std::string::npos;
}

}  // namespace

TEST_CASE("virtual workers: the bits of one rank's tree, whatever the number of ranks") {
  constexpr int kWorkers = 8;
  if (!has_virtual_workers(kWorkers)) return;
  constexpr std::size_t kCount = 5000;
  Model model(kCount);
  OptimizerOptions options;
  options.virtual_workers = kWorkers;
  DistributedOptimizer optimizer(
      model.slots(), [&] { model.step(); }, kMean, options);
  const bool announces = GENERATE(false, true);
  for (int step = 0; step < 3; ++step) {
    int computed = 0;
    optimizer.virtual_workers([&](int worker) {
      CHECK(worker / (kWorkers / size()) == rank());
      for (std::size_t i = 0; i < kCount; ++i) model.gradient[i] += worker_gradient(worker, i);
      if (announces) optimizer.ready(0);
      ++computed;
    });
    CHECK(computed == kWorkers / size());
    optimizer.synchronize();
    for (std::size_t i = 0; i < kCount; ++i) {
      float g[kWorkers];
      for (int w = 0; w < kWorkers; ++w) g[w] = 0.F + worker_gradient(w, i);
      const float sum = ((g[0] + g[1]) + (g[2] + g[3])) + ((g[4] + g[5]) + (g[6] + g[7]));
      const float expected = sum * 0.125F;
      REQUIRE(std::memcmp(&model.gradient[i], &expected, sizeof expected) == 0);
    }
    optimizer.step();
    model.gradient.assign(kCount, 0.F);  // as zero_grad() does
  }
}

TEST_CASE("virtual workers that cannot be are refused") {
  Model model;
  const auto wrap = [&](OptimizerOptions options) {
    return outcome_of([&] {
             DistributedOptimizer o(
                 model.slots(), [] {}, kMean, options);
           })
        .code();
  };
  OptimizerOptions options;
  options.virtual_workers = 12;
  CHECK(wrap(options) == Code::invalid_argument);
  options.virtual_workers = 16;
  options.compression = Compression::bf16;
  CHECK(wrap(options) == Code::invalid_argument);
  options = {};
  DistributedOptimizer optimizer(
      model.slots(), [] {}, kMean);
  CHECK(outcome_of([&] { optimizer.virtual_workers([](int) {}); }).code() ==
        Code::invalid_argument);
}

TEST_CASE("a step before all virtual workers have computed is refused") {
  if (!has_virtual_workers(8)) return;
  Model model;
  OptimizerOptions options;
  options.virtual_workers = 8;
  DistributedOptimizer optimizer(
      model.slots(), [] {}, kMean, options);
  CHECK(outcome_of([&] { optimizer.step(); }).message().find("0 of ") != std::string::npos);
  CHECK(outcome_of([&] { optimizer.step(); }).code() == Code::invalid_argument);
  const auto fails = [](int) { throw std::runtime_error("no memory for the batch"); };
  CHECK_THROWS_AS(optimizer.virtual_workers(fails), std::runtime_error);
  optimizer.virtual_workers([](int) {});
  optimizer.step();  // and then all is well
}
