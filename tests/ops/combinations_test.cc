// SPDX-License-Identifier: Apache-2.0
//
// Every pair of features of DistributedOptimizer: it trains as one process that computes all ranks'
// gradients would, with the same bits where the state is divided, or it is refused with both names.
#include "../support/catch.h"
#include "outcome.h"

#include <ringleader/ops/pipeline/combinations.h>
#include <ringleader/ringleader.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

using namespace ringleader;
using ringleader::test::outcome_of;

namespace {

using Features = std::vector<Feature>;

constexpr int kWorkers = 8;
constexpr int kSteps = 3;

/// SGD with momentum over any slots.
struct Sgd {
  std::vector<Slot> slots;
  std::vector<std::vector<float>> velocity;

  explicit Sgd(std::vector<Slot> over) : slots(std::move(over)) { forget(); }

  void forget() {
    velocity.clear();
    for (const Slot& slot : slots) {
      velocity.emplace_back(static_cast<std::size_t>(slot.parameter.count()));
    }
  }

  void step() {
    for (std::size_t t = 0; t < slots.size(); ++t) {
      auto* const values = static_cast<float*>(slots[t].parameter.data());
      const auto* const slopes = static_cast<const float*>(slots[t].gradient.data());
      for (std::size_t i = 0; i < velocity[t].size(); ++i) {
        velocity[t][i] = 0.9F * velocity[t][i] + slopes[i];
        values[i] -= 0.1F * velocity[t][i];
      }
    }
  }
};

}  // namespace

template <>
struct ringleader::OptimizerAdapter<Sgd> {
  static constexpr bool elementwise = true;
  static constexpr GradientMeaning meaning = GradientMeaning::mean;

  static std::vector<Slot> slots(Sgd& sgd) {
    std::vector<Slot> slots = sgd.slots;
    for (std::size_t t = 0; t < slots.size(); ++t) slots[t].state = {TensorView(sgd.velocity[t])};
    return slots;
  }
  static void step(Sgd& sgd) { sgd.step(); }
  template <typename Closure>
  static double step(Sgd& sgd, Closure evaluate) {
    const double loss = evaluate();
    sgd.step();
    return loss;
  }
  void shard(Sgd& sgd, const std::vector<Slot>& shards) {
    whole = std::exchange(sgd.slots, shards);
    sgd.forget();
  }
  void unshard(Sgd& sgd) {
    sgd.slots = whole;
    sgd.forget();
  }
  static auto state(Sgd& sgd) { return state_of_slots(slots(sgd)); }

  std::vector<Slot> whole;
};

namespace {

constexpr std::size_t kSizes[] = {7, 3000, 1, 50'000};

bool has(const Features& features, Feature feature) {
  return std::find(features.begin(), features.end(), feature) != features.end();
}

/// A gradient of unit `unit` (a rank, or a virtual worker), of a pass of a step.
float gradient_of(int unit, int step, int pass, std::size_t tensor, std::size_t i) {
  const double at =
      0.01 * static_cast<double>(i) + unit + 3 * step + 0.5 * pass + static_cast<double>(tensor);
  return static_cast<float>(std::sin(at));
}

int steps_of(const Features& features, int rank) {
  return has(features, Feature::join) ? kSteps + rank : kSteps;
}

bool has_passes(const Features& features) {
  return has(features, Feature::passes_per_step) || has(features, Feature::no_sync);
}

/// Units whose gradients are averaged in one step, as one process sees them.
std::vector<int> units_of(const Features& features, int step) {
  std::vector<int> units;
  const bool workers = has(features, Feature::virtual_workers);
  const int all = workers ? kWorkers : size();
  for (int unit = 0; unit < all; ++unit) {
    const int owner = workers ? unit / (kWorkers / size()) : unit;
    if (steps_of(features, owner) > step) units.push_back(unit);
  }
  return units;
}

std::vector<std::vector<double>> expected(const Features& features) {
  std::vector<std::vector<double>> weights;
  std::vector<std::vector<double>> velocity;
  for (const std::size_t count : kSizes) {
    weights.emplace_back(count, 1.0);
    velocity.emplace_back(count, 0.0);
  }
  const int all = has(features, Feature::virtual_workers) ? kWorkers : size();
  for (int step = 0; step < steps_of(features, size() - 1); ++step) {
    const std::vector<int> units = units_of(features, step);
    const bool contributors = has(features, Feature::average_over_contributors);
    const double divisor = contributors ? static_cast<double>(units.size()) : all;
    const int passes = has_passes(features) ? 2 : 1;
    auto gradients = weights;
    double squares = 0;
    for (std::size_t t = 0; t < weights.size(); ++t) {
      for (std::size_t i = 0; i < weights[t].size(); ++i) {
        double sum = 0;
        for (const int unit : units) {
          for (int pass = 0; pass < passes; ++pass) sum += gradient_of(unit, step, pass, t, i);
        }
        gradients[t][i] = sum / divisor / passes;
        squares += gradients[t][i] * gradients[t][i];
      }
    }
    const bool clips = has(features, Feature::clipping) && std::sqrt(squares) > 1;
    for (std::size_t t = 0; t < weights.size(); ++t) {
      for (std::size_t i = 0; i < weights[t].size(); ++i) {
        const double gradient = clips ? gradients[t][i] / std::sqrt(squares) : gradients[t][i];
        velocity[t][i] = 0.9 * velocity[t][i] + gradient;
        weights[t][i] -= 0.1 * velocity[t][i];
      }
    }
  }
  return weights;
}

class Training {
 public:
  explicit Training(Features features) : features_(std::move(features)) {
    std::vector<Slot> slots;
    for (const std::size_t count : kSizes) {
      weights.emplace_back(count, 1.F);
      gradients_.emplace_back(count, 0.F);
    }
    for (std::size_t t = 0; t < weights.size(); ++t) {
      slots.push_back({"w" + std::to_string(t), weights[t], gradients_[t], {}, {}, t < 2 ? 0 : 1});
    }
    Sgd sgd(std::move(slots));
    DistributedOptimizer optimizer(sgd, options());
    if (has(features_, Feature::join)) {
      const auto guard = optimizer.join();
      train(optimizer);
    } else {
      train(optimizer);
    }
    identical = optimizer.parameters_identical();
  }

  std::vector<std::vector<float>> weights;
  bool identical = false;

 private:
  OptimizerOptions options() const {
    OptimizerOptions options;
    options.name = "combination";
    if (has(features_, Feature::sharding)) options.sharding = Sharding::optimizer_state;
    if (has(features_, Feature::compression)) options.compression = Compression::fp16;
    if (has(features_, Feature::virtual_workers)) options.virtual_workers = kWorkers;
    if (has(features_, Feature::passes_per_step)) options.passes_per_step = 2;
    options.average_over_contributors = has(features_, Feature::average_over_contributors);
    return options;
  }

  void train(DistributedOptimizer<Sgd>& optimizer) {
    for (int step = 0; step < steps_of(features_, rank()); ++step) {
      if (has(features_, Feature::closure)) {
        optimizer.step([&] {
          compute(optimizer, step);
          return 1.0 + rank();
        });
      } else {
        compute(optimizer, step);
        optimizer.step();
      }
    }
  }

  void compute(DistributedOptimizer<Sgd>& optimizer, int step) {
    for (auto& gradient : gradients_) std::fill(gradient.begin(), gradient.end(), 0.F);
    if (has(features_, Feature::no_sync)) {
      {
        const auto guard = optimizer.no_sync();
        add(rank(), step, 0, 0.5F);
      }
      add(rank(), step, 1, 0.5F);
      // passes_per_step divides once more: those outside the guard.
      if (has(features_, Feature::passes_per_step)) {
        for (auto& gradient : gradients_) {
          for (float& value : gradient) value *= 2;
        }
      }
    } else if (has(features_, Feature::virtual_workers)) {
      optimizer.virtual_workers([&](int worker) { add(worker, step, 0); });
    } else {
      for (int pass = 0; pass < (has_passes(features_) ? 2 : 1); ++pass) add(rank(), step, pass);
    }
    if (has(features_, Feature::clipping)) optimizer.clip_gradient_norm(1.0);
  }

  void add(int unit, int step, int pass, float factor = 1) {
    for (std::size_t t = 0; t < gradients_.size(); ++t) {
      for (std::size_t i = 0; i < gradients_[t].size(); ++i) {
        gradients_[t][i] += factor * gradient_of(unit, step, pass, t, i);
      }
    }
  }

  Features features_;
  std::vector<std::vector<float>> gradients_;
};

std::string text_of(Feature a, Feature b) {
  return std::string(name_of(a)) + " and " + std::string(name_of(b));
}

/// Those that need no device.
constexpr int kHostFeatures = static_cast<int>(Feature::device_memory);

}  // namespace

TEST_CASE("every pair of features trains as one process, or is refused with both names") {
  for (int first = 0; first < kHostFeatures; ++first) {
    for (int second = 0; second < kHostFeatures; ++second) {
      const auto a = static_cast<Feature>(first);
      const auto b = static_cast<Feature>(second);
      const bool workers = a == Feature::virtual_workers || b == Feature::virtual_workers;
      if (workers && kWorkers % size() != 0) continue;
      INFO(text_of(a, b));
      if (!refusal_of(a, b).empty()) {
        const Status status = outcome_of([&] { Training training({a, b}); });
        CHECK(status.code() == Code::invalid_argument);
        for (const Feature each : {a, b}) {
          CHECK(status.message().find(name_of(each)) != std::string::npos);
        }
        continue;
      }
      const Training training({a, b});
      CHECK(training.identical);
      const bool narrow = a == Feature::compression || b == Feature::compression;
      const auto reference = expected({a, b});
      double worst = 0;
      for (std::size_t t = 0; t < reference.size(); ++t) {
        for (std::size_t i = 0; i < reference[t].size(); ++i) {
          worst = std::max(worst, std::abs(training.weights[t][i] - reference[t][i]));
        }
      }
      CHECK(worst < (narrow ? 2e-3 : 2e-5));
      if (a == Feature::sharding || b == Feature::sharding) {
        const Training whole({a == Feature::sharding ? b : a});
        if (a != b) CHECK(training.weights == whole.weights);
      }
    }
  }
}

TEST_CASE("ops/README.md prints the table") {
  std::ifstream file(RINGLEADER_SOURCE_DIR "/ops/README.md");
  const std::string text(std::istreambuf_iterator<char>(file), {});
  int rows = 0;
  for (int first = 0; first < kFeatureCount; ++first) {
    for (int second = 0; second < kFeatureCount; ++second) {
      const auto a = static_cast<Feature>(first);
      const auto b = static_cast<Feature>(second);
      const std::string row = "| " + std::string(name_of(a)) + " | " + std::string(name_of(b)) +
                              " | " + std::string(refusal_of(a, b)) + " |";
      const bool printed = text.find("\n" + row + "\n") != std::string::npos;
      INFO(row);
      CHECK((!printed || !refusal_of(a, b).empty()));
      if (printed) ++rows;
      if (first < second && !refusal_of(a, b).empty()) --rows;
    }
  }
  CHECK(rows == 0);  // each pair once
}

TEST_CASE("what a rank that has joined its shard cannot know of is refused") {
  if (size() == 1) return;
  for (const Feature feature : {Feature::clipping, Feature::closure}) {
    const Status status = outcome_of([&] {
      Training training({Feature::sharding, Feature::join, feature});
    });
    // The ranks that go on are told; the others learn that these do not.
    CHECK_FALSE(status.ok());
    if (rank() == size() - 1) {
      CHECK(status.message().find(name_of(feature)) != std::string::npos);
    }
    // Those that wait for the others are told that these do not come.
    while (!outcome_of([] { barrier("all are here"); }).ok()) continue;
  }
}
