// SPDX-License-Identifier: Apache-2.0
//
// Random programs against a reference that each rank computes by itself: all verbs, types,
// reductions, process sets, groups, threads, wrapped optimizers with their options, and in half of
// the programs one mistake of one rank, after which the program must go on.
//
//   mpirun -np 3 random_program 17 20        # the programs of seeds 17 to 36
//
// Every rank draws the same program; in which order a rank submits what belongs together is its
// own. Values are small integers, so that sums are exact in every type and any order.
#include "../sim/random.h"
#include "../support/watchdog.h"
#include "random_operation.h"

#include <ringleader/ringleader.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace ringleader;
using test::RandomOperation;

namespace {

[[noreturn]] void fail(std::uint64_t seed, const std::string& what) {
  std::printf("seed %llu, %d ranks, rank %d: %s\n", static_cast<unsigned long long>(seed), size(),
              rank(), what.c_str());
  std::fflush(stdout);
  std::_Exit(1);
}

class Program {
 public:
  explicit Program(std::uint64_t seed)
      : seed_(seed), common_(seed), own_(seed * 1000 + static_cast<std::uint64_t>(rank())) {
    sets_.push_back(ProcessSet());
    for (int i = common_.between(0, 2); i > 0; --i) add_set();
  }
  ~Program() {
    for (std::size_t i = 1; i < sets_.size(); ++i) remove_process_set(sets_[i]);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void run() {
    const int blocks = common_.between(2, 6);
    const int mistake_at = common_.chance(50) ? common_.between(0, blocks - 1) : -1;
    for (int block = 0; block < blocks; ++block) {
      if (block == mistake_at) make_a_mistake();
      switch (common_.between(0, 4)) {
        case 0:
        case 1:
          operations();
          break;
        case 2:
          in_threads();
          break;
        case 3:
          train();
          break;
        default:
          train_unevenly();
      }
    }
    barrier();
  }

 private:
  void add_set() {
    std::vector<int> ranks;
    for (int r = 0; r < size(); ++r) {
      if (common_.chance(60)) ranks.push_back(r);
    }
    if (ranks.empty()) ranks.push_back(common_.between(0, size() - 1));
    sets_.push_back(add_process_set(ranks));
  }

  void check(bool right, const std::string& what) const {
    if (!right) fail(seed_, what);
  }

  /// Several at once, on several sets, submitted and waited for in this rank's order.
  void operations() {
    std::vector<RandomOperation> drawn;
    for (int i = common_.between(1, 7); i > 0; --i) {
      const ProcessSet set = sets_[common_.below(sets_.size())];
      RandomOperation operation(common_, next_++, set);
      if (set.includes(rank())) drawn.push_back(std::move(operation));
    }
    own_.shuffle(drawn);
    std::vector<std::function<void()>> checks;
    for (const RandomOperation& operation : drawn) checks.push_back(operation.submit());
    own_.shuffle(checks);
    for (const auto& each : checks) each();
  }

  void in_threads() {
    const int count = common_.between(2, 4);
    const int times = common_.between(1, 5);
    std::vector<std::thread> threads;
    for (int t = 0; t < count; ++t) {
      threads.emplace_back([this, t, times] {
        for (int i = 0; i < times; ++i) {
          std::vector<double> values(static_cast<std::size_t>(10 * t + 1), rank() + i);
          allreduce("thread " + std::to_string(t), values, ReduceOp::sum);
          const double wanted = size() * i + size() * (size() - 1) / 2.0;
          check(values.back() == wanted, "a thread's sum");
          if (i % 2 == 1) barrier("of thread " + std::to_string(t));
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  struct Model {
    std::vector<std::vector<float>> weights;
    std::vector<std::vector<float>> gradients;
  };

  Model any_model() {
    Model model;
    for (int i = common_.between(1, 5); i > 0; --i) {
      const auto count =
          static_cast<std::size_t>(common_.between(0, common_.chance(20) ? 40'000 : 300));
      model.weights.emplace_back(count, 0.F);
      model.gradients.emplace_back(count, 0.F);
    }
    return model;
  }

  static std::vector<Slot> slots_of(Model& model) {
    std::vector<Slot> slots;
    for (std::size_t t = 0; t < model.weights.size(); ++t) {
      slots.push_back({"w" + std::to_string(t), model.weights[t], model.gradients[t]});
    }
    return slots;
  }

  static double gradient_of(int of_rank, int step, std::size_t t) {
    return (of_rank + 2 * step + static_cast<int>(t)) % 4 + 1;
  }

  /// How one optimizer is used; drawn alike by all ranks.
  struct Use {
    GradientMeaning meaning = GradientMeaning::mean;
    OptimizerOptions options;
    bool announces = false;
    bool holds_back = false;
    bool abandons_some = false;

    int workers() const { return options.virtual_workers > 0 ? 2 : 1; }
    int passes() const { return (holds_back ? 1 : 0) + options.passes_per_step; }
  };

  Use any_use() {
    Use use;
    use.options.name = "train";
    if (common_.chance(50)) use.meaning = GradientMeaning::sum;
    const bool sharded = common_.chance(25);
    const bool power = (size() & (size() - 1)) == 0;
    const bool virtual_workers = !sharded && power && common_.chance(20);
    if (sharded) use.options.sharding = Sharding::optimizer_state;
    if (virtual_workers) use.options.virtual_workers = size() * 2;
    use.announces = common_.chance(60);
    if (sharded || virtual_workers) return use;
    use.options.compression = static_cast<Compression>(common_.between(0, 2));
    use.options.passes_per_step = common_.between(1, 2);
    use.holds_back = common_.chance(30);
    use.abandons_some = common_.chance(30);
    return use;
  }

  template <typename Optimizer>
  void compute_pass(Optimizer& optimizer, const Use& use, Model& model, int step, int worker) {
    for (std::size_t t = 0; t < model.gradients.size(); ++t) {
      for (float& g : model.gradients[t]) {
        g += static_cast<float>(gradient_of(rank(), step, t) + worker);
      }
    }
    if (!use.announces) return;
    std::vector<std::size_t> order(model.gradients.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    own_.shuffle(order);
    for (const std::size_t t : order) optimizer.ready(t);
  }

  template <typename Optimizer>
  void compute_gradients(Optimizer& optimizer, const Use& use, Model& model, int step) {
    for (auto& gradient : model.gradients) std::fill(gradient.begin(), gradient.end(), 0.F);
    if (use.options.virtual_workers > 0) {
      int worker = 0;
      optimizer.virtual_workers(
          [&](int /*worker*/) { compute_pass(optimizer, use, model, step, worker++); });
      return;
    }
    if (use.holds_back) {
      const NoSyncGuard guard = optimizer.no_sync();
      compute_pass(optimizer, use, model, step, 0);
    }
    for (int pass = 0; pass < use.options.passes_per_step; ++pass) {
      compute_pass(optimizer, use, model, step, 0);
    }
  }

  /// What a step takes from the weights of tensor t.
  double step_of(const Use& use, int step, std::size_t t) const {
    double total = 0;
    for (int r = 0; r < size(); ++r) {
      // The second virtual worker of a rank has 1 more than the first.
      total += use.workers() == 2 ? 2 * gradient_of(r, step, t) + 1
                                  : use.passes() * gradient_of(r, step, t);
    }
    if (use.meaning == GradientMeaning::sum) return total;
    return total / (size() * use.options.passes_per_step * use.workers());
  }

  void train() {
    Model model = any_model();
    const Use use = any_use();
    DistributedOptimizer optimizer(
        slots_of(model), [](const std::vector<Slot>& slots) { descend(slots); }, use.meaning,
        use.options);
    std::vector<double> wanted(model.weights.size(), 0.0);
    for (int step = common_.between(1, 6); step > 0; --step) {
      compute_gradients(optimizer, use, model, step);
      if (use.abandons_some && common_.chance(40)) {
        optimizer.abandon_step();
        continue;
      }
      if (common_.chance(20)) optimizer.synchronize();
      optimizer.step();
      for (std::size_t t = 0; t < wanted.size(); ++t) wanted[t] -= step_of(use, step, t);
    }
    for (std::size_t t = 0; t < wanted.size(); ++t) {
      for (const float weight : model.weights[t]) {
        check(std::abs(weight - wanted[t]) <= 0.02 * std::max(1.0, std::abs(wanted[t])),
              "training: weight " + std::to_string(t) + " is " + std::to_string(weight) + ", not " +
                  std::to_string(wanted[t]));
      }
    }
    check(optimizer.parameters_identical(), "the ranks' parameters differ");
  }

  static void descend(const std::vector<Slot>& slots) {
    for (const Slot& slot : slots) {
      auto* const weights = static_cast<float*>(slot.parameter.data());
      for (std::int64_t i = 0; i < slot.parameter.count(); ++i) {
        weights[i] -= static_cast<const float*>(slot.gradient.data())[i];
      }
    }
  }

  /// Ranks have different numbers of steps, and go on together.
  void train_unevenly() {
    Model model = any_model();
    OptimizerOptions options;
    options.name = "uneven";
    options.stateless = true;
    options.average_over_contributors = common_.chance(50);
    DistributedOptimizer optimizer(
        slots_of(model),
        [&] {
          for (std::size_t t = 0; t < model.weights.size(); ++t) {
            for (std::size_t i = 0; i < model.weights[t].size(); ++i) {
              model.weights[t][i] -= model.gradients[t][i];
            }
          }
        },
        GradientMeaning::mean, options);
    std::vector<int> steps;
    for (int r = 0; r < size(); ++r) steps.push_back(common_.between(0, 4));
    const int most = *std::max_element(steps.begin(), steps.end());
    double wanted = 0;
    for (int step = 0; step < most; ++step) {
      int present = 0;
      double total = 0;
      for (int r = 0; r < size(); ++r) {
        if (steps[static_cast<std::size_t>(r)] <= step) continue;
        ++present;
        total += r + 1;
      }
      wanted -= total / (options.average_over_contributors ? present : size());
    }
    {
      const auto guard = optimizer.join();
      for (int step = 0; step < steps[static_cast<std::size_t>(rank())]; ++step) {
        for (auto& gradient : model.gradients) {
          std::fill(gradient.begin(), gradient.end(), static_cast<float>(rank() + 1));
        }
        optimizer.step();
      }
    }
    for (auto& gradient : model.gradients) std::fill(gradient.begin(), gradient.end(), 2.F);
    optimizer.step();
    wanted -= 2;
    for (const auto& weights : model.weights) {
      for (const float weight : weights) {
        check(std::abs(weight - wanted) <= 1e-4 * std::max(1.0, std::abs(wanted)),
              "uneven steps: " + std::to_string(weight) + ", not " + std::to_string(wanted));
      }
    }
  }

  /// One rank is wrong: all get the same error, and nobody hangs.
  void make_a_mistake() {
    if (size() == 1) return;
    const int culprit = common_.between(0, size() - 1);
    const bool wrong = rank() == culprit;
    const int kind = common_.between(0, 5);
    std::vector<float> values(wrong && kind == 0 ? 5 : 4, 1.F);
    std::vector<double> others(4, 1.0);
    Code expected = Code::mismatch;
    Status status;
    try {
      switch (kind) {
        case 0:
          allreduce("mistake", values);
          break;
        case 1:
          allreduce("mistake", wrong ? TensorView(others) : TensorView(values));
          break;
        case 2:
          allreduce("mistake", values, wrong ? ReduceOp::max : ReduceOp::sum);
          break;
        case 3:
          broadcast("mistake", values, wrong ? culprit : (culprit + 1) % size());
          break;
        case 4:
          expected = Code::stalled;
          allreduce(wrong ? "mistaek" : "mistake", values);
          break;
        default: {
          Model model;
          model.weights.emplace_back(wrong ? 3 : 4, 0.F);
          model.gradients.emplace_back(wrong ? 3 : 4, 0.F);
          DistributedOptimizer optimizer(
              slots_of(model), [] {}, GradientMeaning::mean);
        }
      }
    } catch (const Error& error) {
      status = error.status();
    }
    check(status.code() == expected, std::string("mistake ") + std::to_string(kind) +
                                         " ended with " + name_of(status.code()) + ": " +
                                         status.message());
    for (const float value : values) check(value == 1.F, "a failed operation changed memory");
  }

  std::uint64_t seed_;
  sim::Random common_;
  sim::Random own_;
  std::vector<ProcessSet> sets_;
  int next_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::uint64_t first = std::strtoull(argv[1], nullptr, 10);
  const std::uint64_t count = std::strtoull(argv[2], nullptr, 10);
  test::Watchdog watchdog(std::chrono::seconds(200));
  InitOptions options;
  options.config.blocked_grace_s = 0.3;
  const Session session(options);
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    watchdog.enter("seed " + std::to_string(seed));
    try {
      Program(seed).run();
    } catch (const std::exception& error) {
      fail(seed, error.what());
    }
  }
  return 0;
}
