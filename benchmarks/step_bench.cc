// SPDX-License-Identifier: Apache-2.0
//
// Times whole training steps with the gradient tensors of a known model:
//
//   $ mpirun -np 2 ./step_bench --model resnet50
//   $ mpirun -np 2 ./step_bench --model resnet50 --compute-ms 60 --overlap --skew-us 500
//
// The gradients become ready from the last layer to the first, as in a backward pass, which takes
// --compute-ms and is spread over the tensors by their size; with --overlap each is announced when
// it is ready. It keeps a core busy, or, with --compute sleep, leaves it free, as a backward pass
// on an accelerator does. In turn with ours, on the same buffers:
//
//   flat        one tensor of all the bytes, through the library
//   mpi-each    the best of MPI, tensor by tensor, after the backward pass
//   mpi-flat    the best of MPI, one contiguous tensor, after the backward pass
//   limit       the same loads and stores with no synchronization, after no backward pass
//
// With --sharded: a step with the optimizer's state divided among the ranks, in turn with one in
// which every rank has all of it. Both make the same plain update.
//
// ideal_ms is the step with perfect overlap: each gradient travels in its share of the limit's time
// as soon as it is ready, and takes nothing from the backward pass. Where the reduction needs the
// cores that compute, as on one node, no step can be as short; between hosts it can.
#include "gradient_lists.h"
#include "interleave.h"
#include "limit.h"
#include "mpi_baseline.h"

#include <ringleader/ringleader.h>

#include <fmt/core.h>
#include <mpi.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace ringleader;
using namespace ringleader::benchmarks;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string model = "resnet50";
  double compute_ms = 0;
  std::string compute = "spin";
  bool overlap = false;
  bool sharded = false;
  int skew_us = 0;
  int warmup = 4;
  int steps = 20;
  bool baselines = true;
  std::string json;
};

Clock::duration microseconds(double us) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double, std::micro>(us));
}

/// Keeps this core busy.
void spin_until(Clock::time_point end) {
  while (Clock::now() < end) {
  }
}

double cpu_seconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// The model's gradients, one after another in shared memory.
class Model {
 public:
  explicit Model(const Options& options)
      : options_(options),
        counts_(models().at(options.model)),
        total_(std::accumulate(counts_.begin(), counts_.end(), std::int64_t{0})),
        memory_(static_cast<std::size_t>(total_)),
        random_(static_cast<unsigned>(rank())) {
    std::int64_t first = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      const TensorView view(memory_.data() + first, {counts_[i]});
      slots_.push_back({"gradient" + std::to_string(i), view, view, {}});
      pieces_.push_back({view.data(), view.data(), counts_[i]});
      first += counts_[i];
    }
  }

  const std::vector<Slot>& slots() const { return slots_; }
  const Pieces& pieces() const { return pieces_; }
  Pieces flat() { return {{memory_.data(), memory_.data(), total_}}; }
  TensorView view() { return TensorView(memory_.data(), {total_}); }
  std::int64_t bytes() const { return total_ * static_cast<std::int64_t>(sizeof(float)); }

  /// Calls ready(i) for each gradient when it would be.
  template <typename Ready>
  void backward(Ready ready) {
    if (options_.skew_us > 0) {
      const double us = std::uniform_real_distribution<>(0, options_.skew_us)(random_);
      spin_until(Clock::now() + microseconds(us));
    }
    const bool sleeps = options_.compute == "sleep";
    Clock::time_point end = Clock::now();
    for (std::size_t i = counts_.size(); i-- > 0;) {
      const double share = static_cast<double>(counts_[i]) / static_cast<double>(total_);
      end += microseconds(share * options_.compute_ms * 1e3);
      sleeps ? std::this_thread::sleep_until(end) : spin_until(end);
      ready(i);
    }
  }

 private:
  const Options& options_;
  std::vector<std::int64_t> counts_;
  std::int64_t total_;
  std::vector<float, SharedAllocator<float>> memory_;
  std::mt19937 random_;
  std::vector<Slot> slots_;
  Pieces pieces_;
};

/// Milliseconds of a step whose gradients travel one after another, each as soon as it is ready,
/// while the backward pass goes on undisturbed; `reduce_ms` is the time of all of them.
double ideal_overlap(const Options& options, double reduce_ms) {
  const std::vector<std::int64_t>& counts = models().at(options.model);
  const auto total =
      static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  double ready = 0;
  double done = 0;
  for (std::size_t i = counts.size(); i-- > 0;) {
    const double share = static_cast<double>(counts[i]) / total;
    ready += share * options.compute_ms;
    done = std::max(done, ready) + share * reduce_ms;
  }
  return done;
}

/// What one step of ours needs, counted over some steps: all are exact but the processor time.
nlohmann::ordered_json counts_of(const std::function<void()>& step) {
  constexpr int kSteps = 5;
  const Counters before = counters();
  const double cpu_before = cpu_seconds();
  for (int i = 0; i < kSteps; ++i) step();
  const Counters after = counters();
  return {{"control_messages", (after.control_messages - before.control_messages) / kSteps},
          {"batches", (after.batches - before.batches) / kSteps},
          {"tensors", (after.tensors - before.tensors) / kSteps},
          {"messages", (after.messages - before.messages) / kSteps},
          {"message_bytes", (after.message_bytes - before.message_bytes) / kSteps},
          {"loaded_bytes", (after.loaded_bytes - before.loaded_bytes) / kSteps},
          {"stored_bytes", (after.stored_bytes - before.stored_bytes) / kSteps},
          {"copied_bytes", (after.copied_bytes - before.copied_bytes) / kSteps},
          {"cpu_ms", (cpu_seconds() - cpu_before) * 1e3 / kSteps}};
}

/// One row per contender, compared with the first; `compute_ms` of a step are not communication.
nlohmann::ordered_json rows_of(const std::vector<Contender>& contenders,
                               const std::vector<std::vector<double>>& times, double compute_ms) {
  nlohmann::ordered_json rows;
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    const Ratio ratio = ratio_of(times[0], times[i]);
    const double ms = quantile(times[i], 0.5) / 1e3;
    rows.push_back({{"name", contenders[i].name},
                    {"step_ms", ms},
                    {"exposed_ms", std::max(0.0, ms - compute_ms)},
                    {"over_ours", ratio.median},
                    {"q25", ratio.q25},
                    {"q75", ratio.q75}});
  }
  return rows;
}

nlohmann::ordered_json run(const Options& options) {
  Model model(options);
  OptimizerOptions optimizer_options;
  optimizer_options.broadcast_parameters = false;
  DistributedOptimizer optimizer(
      model.slots(), [] {}, GradientMeaning::sum, optimizer_options);
  const auto nothing = [](std::size_t) {};
  const auto step = [&] {
    model.backward([&](std::size_t i) {
      if (options.overlap) optimizer.ready(i);
    });
    optimizer.step();
  };
  std::vector<Contender> contenders = {{"ringleader", step}};
  contenders.push_back({"flat", [&] {
                          model.backward(nothing);
                          allreduce("flat", model.view(), model.view(), ReduceOp::sum);
                        }});
  MpiBaseline best(true);
  if (options.baselines) {
    for (const bool flat : {false, true}) {
      const auto reduce =
          best.allreduce(flat ? model.flat() : model.pieces(), DType::f32, ReduceOp::sum);
      contenders.push_back({(flat ? "mpi-flat: " : "mpi-each: ") + best.chosen(), [&, reduce] {
                              model.backward(nothing);
                              reduce();
                            }});
    }
  }
  if (const auto limit = speed_of_light(model.pieces(), DType::f32, ReduceOp::sum)) {
    contenders.push_back({"limit", limit});
  }
  const auto times = interleave(contenders, {options.warmup, options.steps, 1});
  nlohmann::ordered_json result = {{"model", options.model},     {"ranks", size()},
                                   {"bytes", model.bytes()},     {"compute_ms", options.compute_ms},
                                   {"overlap", options.overlap}, {"skew_us", options.skew_us}};
  result.update(counts_of(step));
  result["times"] = rows_of(contenders, times, options.compute_ms);
  for (const auto& row : result["times"]) {
    if (row["name"] == "limit") result["ideal_ms"] = ideal_overlap(options, row["step_ms"]);
  }
  return result;
}

/// A model whose tensors the wrapper may move, with plain gradient descent as its update.
class MovableModel {
 public:
  MovableModel(const Options& options, Sharding sharding) {
    const std::vector<std::int64_t>& counts = models().at(options.model);
    parameters_.reserve(counts.size());
    gradients_.reserve(counts.size());
    std::vector<Slot> slots;
    for (const std::int64_t count : counts) {
      auto& parameter = parameters_.emplace_back(static_cast<std::size_t>(count));
      auto& gradient = gradients_.emplace_back(static_cast<std::size_t>(count));
      slots.push_back({"gradient" + std::to_string(slots.size()),
                       TensorView(parameter.data(), {count}), TensorView(gradient.data(), {count}),
                       [](void*) {}, [](void*) {}});
    }
    OptimizerOptions optimizer_options;
    optimizer_options.name = sharding == Sharding::none ? "replicated" : "sharded";
    optimizer_options.sharding = sharding;
    optimizer_ = std::make_unique<Optimizer>(std::move(slots), Update{}, GradientMeaning::mean,
                                             optimizer_options);
  }

  void step() { optimizer_->step(); }

 private:
  struct Update {
    void operator()(const std::vector<Slot>& slots) const {
      for (const Slot& slot : slots) {
        auto* const weights = static_cast<float*>(slot.parameter.data());
        const auto* const gradients = static_cast<const float*>(slot.gradient.data());
        for (std::int64_t i = 0; i < slot.parameter.count(); ++i) {
          weights[i] -= 0.01F * gradients[i];
        }
      }
    }
  };
  using Optimizer = decltype(DistributedOptimizer(std::declval<std::vector<Slot>>(),
                                                  std::declval<Update>(), GradientMeaning::mean));

  std::vector<std::vector<float>> parameters_;
  std::vector<std::vector<float>> gradients_;
  std::unique_ptr<Optimizer> optimizer_;
};

nlohmann::ordered_json run_sharded(const Options& options) {
  MovableModel replicated(options, Sharding::none);
  MovableModel sharded(options, Sharding::optimizer_state);
  const std::vector<Contender> contenders = {{"sharded", [&] { sharded.step(); }},
                                             {"replicated", [&] { replicated.step(); }}};
  const auto times = interleave(contenders, {options.warmup, options.steps, 1});
  nlohmann::ordered_json result = {{"model", options.model}, {"ranks", size()}};
  result.update(counts_of(contenders[0].run));
  result["times"] = rows_of(contenders, times, 0);
  return result;
}

void print(const nlohmann::ordered_json& result) {
  for (const auto& [key, value] : result.items()) {
    if (key != "times") fmt::print("{:18} {}\n", key, value.dump());
  }
  fmt::print("{:32} {:>10} {:>11} {:>18}\n", "# in turn", "step (ms)", "exposed", "time over ours");
  for (const auto& row : result["times"]) {
    fmt::print("{:32} {:>10.2f} {:>11.2f} {:>6.2f} ({:.2f}-{:.2f})\n",
               row["name"].get<std::string>(), row["step_ms"].get<double>(),
               row["exposed_ms"].get<double>(), row["over_ours"].get<double>(),
               row["q25"].get<double>(), row["q75"].get<double>());
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Times training steps with the gradients of a known model", "step_bench");
  app.add_option("--model", options.model)->check(CLI::IsMember(models()))->capture_default_str();
  app.add_option("--compute-ms", options.compute_ms, "length of the backward pass")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--compute", options.compute, "what the processor does meanwhile")
      ->check(CLI::IsMember({"spin", "sleep"}));
  app.add_flag("--overlap", options.overlap, "announce each gradient when it is ready");
  app.add_flag("--sharded", options.sharded, "sharded against replicated optimizer state");
  app.add_option("--skew-us", options.skew_us, "each rank is late by up to so much, at random")
      ->check(CLI::Range(0, 10'000'000));
  app.add_option("-w,--warmup_iters", options.warmup)->check(CLI::Range(0, 1000));
  app.add_option("-n,--iters", options.steps)->check(CLI::Range(1, 100'000));
  app.add_flag("!--no-baselines", options.baselines, "only ours and the limit");
  app.add_option("--json", options.json, "file for the result");
  CLI11_PARSE(app, argc, argv);
  MpiBaseline::prepare();
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided);
  {
    const Session session;
    const nlohmann::ordered_json result = options.sharded ? run_sharded(options) : run(options);
    if (rank() == 0) {
      print(result);
      if (!options.json.empty()) std::ofstream(options.json) << result.dump(2) << "\n";
    }
  }
  MPI_Finalize();
  return 0;
}
