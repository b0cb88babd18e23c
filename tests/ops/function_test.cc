// SPDX-License-Identifier: Apache-2.0
//
// Optimizers that own the loop, optimizers that are called per tensor, and the comparison of N
// ranks with one; on 1 to 4 ranks under mpirun.
#include "../support/catch.h"
#include "outcome.h"

#include <ringleader/ringleader.h>

#include <cmath>

using namespace ringleader;
using ringleader::test::outcome_of;

namespace {

using Vector = std::vector<double>;

/// Least squares on samples with numbers first, first + stride, ...; sums, as ensmallen wants them.
struct LeastSquares {
  std::vector<int> samples;

  static LeastSquares part(int rank, int size, int count) {
    LeastSquares function;
    for (int i = rank; i < count; i += size) function.samples.push_back(i);
    return function;
  }
  std::size_t NumFunctions() const { return samples.size(); }
  void Shuffle() {}
  double EvaluateWithGradient(const Vector& x, std::size_t begin, Vector& gradient,
                              std::size_t count) const {
    gradient.assign(x.size(), 0.0);
    double loss = 0;
    for (std::size_t s = begin; s < begin + count; ++s) {
      const int i = samples[s];
      double error = -std::sin(i);  // the target
      for (std::size_t k = 0; k < x.size(); ++k) error += x[k] * input(i, k);
      for (std::size_t k = 0; k < x.size(); ++k) gradient[k] += 2 * error * input(i, k);
      loss += error * error;
    }
    return loss;
  }
  double Evaluate(const Vector& x, std::size_t begin, std::size_t count) const {
    Vector gradient;
    return EvaluateWithGradient(x, begin, gradient, count);
  }
  static double input(int sample, std::size_t k) {
    return std::cos(0.7 * sample * static_cast<double>(k + 1));
  }
};

/// Mini-batch gradient descent that owns the loop; the step is scaled by the batch, as there.
struct GradientDescent {
  std::size_t batch = 8;
  int epochs = 30;
  double rate = 0.05;

  template <typename Function>
  double Optimize(Function& function, Vector& x) {
    Vector gradient;
    double loss = 0;
    for (int epoch = 0; epoch < epochs; ++epoch) {
      function.Shuffle();
      loss = 0;
      for (std::size_t at = 0; at < function.NumFunctions(); at += batch) {
        const std::size_t count = std::min(batch, function.NumFunctions() - at);
        loss += function.EvaluateWithGradient(x, at, gradient, count);
        for (std::size_t k = 0; k < x.size(); ++k) {
          x[k] -= rate * gradient[k] / static_cast<double>(count);
        }
      }
    }
    return loss;
  }
};

}  // namespace

TEST_CASE("a function of all ranks: the loop computes what it computes with all samples") {
  for (const int count : {64, 61, 3, 1}) {
    GradientDescent descent;
    LeastSquares all = LeastSquares::part(0, 1, count);
    Vector expected = {0.5, -0.5, 0.25};
    const double expected_loss = descent.Optimize(all, expected);

    LeastSquares own = LeastSquares::part(rank(), size(), count);
    Vector x = {0.5, -0.5, 0.25};
    if (rank() > 0) x = {7, 7, 7};  // the root's start is used
    const double loss = optimize(descent, own, x);
    CHECK(loss == Approx(expected_loss).epsilon(1e-12));
    for (std::size_t k = 0; k < x.size(); ++k) CHECK(x[k] == Approx(expected[k]).epsilon(1e-12));
  }
}

TEST_CASE("a function of all ranks: ranges, values without gradient, no control messages") {
  LeastSquares own = LeastSquares::part(rank(), size(), 50);
  const LeastSquares all = LeastSquares::part(0, 1, 50);
  DistributedFunction<LeastSquares> function(own, "ranges");
  const Vector x = {0.1, 0.2, 0.3};
  Vector gradient;
  Vector expected;
  std::uint64_t before = 0;
  for (std::size_t begin = 0; begin < 50; ++begin) {
    const std::size_t count = std::min<std::size_t>(1 + begin % 13, 50 - begin);
    const double loss = function.EvaluateWithGradient(x, begin, gradient, count);
    CHECK(loss == Approx(all.EvaluateWithGradient(x, begin, expected, count)));
    for (std::size_t k = 0; k < x.size(); ++k) CHECK(gradient[k] == Approx(expected[k]));
    if (begin == 3) before = counters().control_messages;
  }
  CHECK(counters().control_messages == before);
  CHECK(function.Evaluate(x, 0, 50) == Approx(all.Evaluate(x, 0, 50)));
  CHECK(function.NumFunctions() == 50);
}

TEST_CASE("ranks that hold different numbers of samples") {
  // Rank r has r + 1 samples; dealt one after another they are numbered in rounds.
  std::vector<std::int64_t> counts;
  for (int r = 0; r < 4; ++r) counts.push_back(r + 1);
  std::int64_t covered = 0;
  for (int r = 0; r < 4; ++r) {
    const RoundRobin samples(counts, r);
    CHECK(samples.total() == 10);
    std::int64_t next = 0;
    for (std::int64_t at = 0; at < 10; ++at) {
      const auto [begin, end] = samples.local_range(at, at + 1);
      CHECK(begin == next);
      next = end;
      covered += end - begin;
    }
    CHECK(next == r + 1);
  }
  CHECK(covered == 10);
  CHECK(RoundRobin(counts, 3).local_range(4, 7) == std::pair<std::int64_t, std::int64_t>(1, 2));
}

TEST_CASE("updates per tensor: learnt in the first step, one reduction from the second on") {
  std::vector<std::vector<float>> weights(5, std::vector<float>(7, 1.F));
  if (rank() > 0) weights[3].assign(7, 9.F);  // broadcast when first seen
  std::vector<float> scratch(7);              // used again for every tensor
  int updates = 0;
  DistributedUpdate<std::vector<float>> update(
      [&](const std::vector<float>& gradient, std::vector<float>& weight) {
        ++updates;
        for (std::size_t i = 0; i < weight.size(); ++i) weight[i] -= gradient[i];
      },
      GradientMeaning::sum);
  std::uint64_t batches = 0;
  for (int step = 0; step < 6; ++step) {
    if (step == 3) batches = counters().batches;
    for (std::size_t t = 0; t < weights.size(); ++t) {
      scratch.assign(7, static_cast<float>(t));
      update(scratch, weights[t]);
    }
    CHECK(updates == 5 * (step + 1));
  }
  for (std::size_t t = 0; t < weights.size(); ++t) {
    CHECK(weights[t][6] == 1.F - 6 * static_cast<float>(size()) * static_cast<float>(t));
  }
  if (size() > 1) CHECK(counters().batches - batches <= 18);
  update(scratch, weights[0]);
  CHECK(outcome_of([&] { update(scratch, weights[2]); }).code() == Code::invalid_argument);
}

namespace {

/// A model with one weight per input, trained by the mean of squared errors over a batch of 24.
struct Training {
  std::vector<float> weight = std::vector<float>(6, 0.5F);
  std::vector<float> gradient = std::vector<float>(6);

  void compute(int step, int rank, int size, bool uneven) {
    const int first =
        uneven && size > 1 ? (rank == 0 ? 0 : 12 + (rank - 1) * 12 / (size - 1)) : rank * 24 / size;
    const int last = uneven && size > 1 ? 12 + rank * 12 / (size - 1) : (rank + 1) * 24 / size;
    gradient.assign(6, 0.F);
    for (int i = first; i < last; ++i) {
      const int sample = step * 24 + i;
      double error = -std::sin(sample);
      for (std::size_t k = 0; k < 6; ++k) error += weight[k] * LeastSquares::input(sample, k);
      for (std::size_t k = 0; k < 6; ++k) {
        gradient[k] +=
            static_cast<float>(2 * error * LeastSquares::input(sample, k) / (last - first));
      }
    }
  }
  std::vector<Slot> slots() { return {{"weight", weight, gradient, {}}}; }
};

EquivalenceReport verify(GradientMeaning meaning, bool uneven = false, bool seeded = true) {
  return verify_equivalence([&](const EquivalenceRun& run) {
    Training training;
    static int calls = 0;
    if (!seeded) training.weight[0] += static_cast<float>(++calls);
    DistributedOptimizer optimizer(
        training.slots(),
        [&] {
          for (std::size_t k = 0; k < 6; ++k) training.weight[k] -= 0.1F * training.gradient[k];
        },
        meaning, run.options);
    for (int step = 0; step < run.steps; ++step) {
      training.compute(step, run.rank, run.size, uneven);
      optimizer.step();
    }
    return copies_of(training.slots());
  });
}

}  // namespace

TEST_CASE("verify_equivalence: right is right, and wrong has its reason") {
  const EquivalenceReport right = verify(GradientMeaning::mean);
  INFO(right.text);
  CHECK(right.equal);
  CHECK(right.text.empty());
  CHECK(right.difference < 1e-6);
  CHECK(verify(GradientMeaning::mean, false, false).text.find("does not begin with the same") !=
        std::string::npos);
  if (size() == 1) return;
  const EquivalenceReport sum = verify(GradientMeaning::sum);
  CHECK_FALSE(sum.equal);
  INFO(sum.text);
  CHECK(sum.text.find("'weight' differs from one rank") != std::string::npos);
  CHECK(sum.text.find("gradients that are means are added up") != std::string::npos);
  if (size() < 3) return;  // two halves are even
  const EquivalenceReport uneven = verify(GradientMeaning::mean, true);
  CHECK_FALSE(uneven.equal);
  CHECK(uneven.text.find("uneven shares") != std::string::npos);
}

TEST_CASE("verify_equivalence: what is not a number, and other sizes, are differences") {
  if (size() == 1) return;
  const auto with = [](const std::vector<double>& together) {
    return verify_equivalence([&](const EquivalenceRun& run) {
      const std::vector<double> alone = {1.0, 2.0, 3.0};
      const bool trained = run.size > 1 && run.steps > 0;
      return std::vector<NamedValues>{{"weight", trained ? together : alone}};
    });
  };
  CHECK(with({1.0, 2.0, 3.0}).equal);
  const EquivalenceReport nan = with({1.0, std::nan(""), 3.0});
  CHECK_FALSE(nan.equal);
  CHECK(std::isnan(nan.difference));
  CHECK_FALSE(with({1.0, 2.0}).equal);
  CHECK_FALSE(with({1.0, 2.0, 3.0, 4.0}).equal);
}
