// SPDX-License-Identifier: Apache-2.0
//
// Times one small blocking allreduce and says where the time goes:
//
//   $ mpirun -np 2 ./latency_bench -b 8 -e 1K
//
//   plan     a parameter of a DistributedOptimizer, agreed on once and then replayed
//   dynamic  negotiated every time
//   mpi      raw MPI_Allreduce, in turn with the two
//
// The parts, medians over the operations of one rank, by the stamps of the flight recorder:
//   mailbox    from the call until the runtime took it up
//   negotiate  until this rank knew that all others have submitted it (a plan needs no answer)
//   peers      until the last rank had launched it
//   execute    until its result was there
//   wake       until the call returned
#include "interleave.h"

#include <ringleader/core/runtime/runtime.h>
#include <ringleader/core/runtime/ticks.h>
#include <ringleader/ops/session/current_session.h>
#include <ringleader/ringleader.h>

#include <fmt/core.h>
#include <mpi.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace {

using namespace ringleader;
using namespace ringleader::benchmarks;

struct Options {
  std::int64_t bytes_min = 8;
  std::int64_t bytes_max = 1024;
  int iterations = 2000;
  int rounds = 15;
  bool only_plan = false;
  std::string json;
};

constexpr std::array<const char*, 5> kParts = {"mailbox", "negotiate", "peers", "execute", "wake"};
using Parts = std::array<double, kParts.size()>;

/// Nanoseconds per tick.
double tick_ns() {
  const auto begin = runtime::FlightClock::now();
  auto end = runtime::FlightClock::now();
  while (end.nanoseconds - begin.nanoseconds < 20'000'000) end = runtime::FlightClock::now();
  return static_cast<double>(end.nanoseconds - begin.nanoseconds) /
         static_cast<double>(end.ticks - begin.ticks);
}

/// Runs the operation many times and takes its parts from the flight recorder. Ranks of one node
/// share the processor's counter, so their stamps compare.
Parts parts_of(const std::function<void()>& run, int iterations, double ns_per_tick) {
  const auto runtime = current_runtime("latency_bench");
  std::vector<std::int64_t> mine(static_cast<std::size_t>(iterations) * 5);
  std::vector<std::int64_t> launched(static_cast<std::size_t>(iterations));
  for (int i = 0; i < iterations; ++i) {
    const std::int64_t called = runtime::ticks();
    run();
    const std::int64_t returned = runtime::ticks();
    const auto& records = runtime->flight_log().records;
    const auto last =
        std::max_element(records.begin(), records.end(),
                         [](const auto& a, const auto& b) { return a.sequence < b.sequence; });
    std::int64_t* const row = mine.data() + i * 5;
    row[0] = called;
    row[1] = last->submitted;
    row[2] = last->decided;
    row[3] = last->completed;
    row[4] = returned;
    launched[static_cast<std::size_t>(i)] = last->launched;
  }
  MPI_Allreduce(MPI_IN_PLACE, launched.data(), iterations, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD);
  std::array<std::vector<double>, kParts.size()> all;
  for (int i = 0; i < iterations; ++i) {
    const std::int64_t* const row = mine.data() + i * 5;
    const std::int64_t met = std::clamp(launched[static_cast<std::size_t>(i)], row[2], row[3]);
    const std::array<std::int64_t, 6> times = {row[0], row[1], row[2], met, row[3], row[4]};
    for (std::size_t part = 0; part < all.size(); ++part) {
      all[part].push_back(static_cast<double>(times[part + 1] - times[part]) * ns_per_tick / 1e3);
    }
  }
  Parts medians;
  for (std::size_t part = 0; part < all.size(); ++part) medians[part] = quantile(all[part], 0.5);
  return medians;
}

nlohmann::ordered_json run_size(const Options& options, std::int64_t bytes, double ns_per_tick) {
  const auto count = static_cast<std::size_t>(bytes) / sizeof(float);
  std::vector<float, SharedAllocator<float>> parameter(count);
  std::vector<float, SharedAllocator<float>> gradient(count);
  OptimizerOptions optimizer_options;
  optimizer_options.name = "latency" + std::to_string(bytes);
  DistributedOptimizer optimizer(
      std::vector<Slot>{{"gradient", TensorView(parameter), TensorView(gradient)}}, [] {},
      GradientMeaning::mean, optimizer_options);
  const std::vector<Contender> contenders = {
      {"plan", [&] { optimizer.step(); }},
      {"dynamic", [&] { allreduce("latency", gradient, gradient, ReduceOp::sum); }},
      {"mpi", [&] {
         MPI_Allreduce(MPI_IN_PLACE, gradient.data(), static_cast<int>(count), MPI_FLOAT, MPI_SUM,
                       MPI_COMM_WORLD);
       }}};
  if (options.only_plan) {
    for (int i = 0; i < options.rounds * options.iterations; ++i) contenders[0].run();
    return nlohmann::ordered_json::array();
  }
  const auto times = interleave(contenders, {3, options.rounds, options.iterations});
  const auto result = [&](std::size_t who) {
    nlohmann::ordered_json row = {{"mode", contenders[who].name},
                                  {"bytes", bytes},
                                  {"ranks", size()},
                                  {"time_us_p50", quantile(times[who], 0.5)},
                                  {"vs_mpi", ratio_of(times[who], times[2]).median}};
    if (who < 2) {
      const Parts parts = parts_of(contenders[who].run, 500, ns_per_tick);
      for (std::size_t i = 0; i < parts.size(); ++i) row[kParts[i]] = parts[i];
    }
    return row;
  };
  return {result(0), result(1), result(2)};
}

void print(const nlohmann::ordered_json& rows) {
  for (const auto& row : rows) {
    fmt::print("{:>8} {:>8} {:>9.2f} {:>7.2f}", row["bytes"].get<std::int64_t>(),
               row["mode"].get<std::string>(), row["time_us_p50"].get<double>(),
               row["vs_mpi"].get<double>());
    for (const char* part : kParts) {
      if (row.contains(part)) fmt::print(" {:>9.2f}", row[part].get<double>());
    }
    fmt::print("\n");
  }
  std::fflush(stdout);
}

void run(const Options& options) {
  const double ns_per_tick = tick_ns();
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  if (rank() == 0) {
    fmt::print("# {} ranks, times in us\n{:>8} {:>8} {:>9} {:>7}", size(), "# bytes", "mode",
               "time", "vs mpi");
    for (const char* part : kParts) fmt::print(" {:>9}", part);
    fmt::print("\n");
  }
  for (std::int64_t bytes = options.bytes_min; bytes <= options.bytes_max; bytes *= 2) {
    const nlohmann::ordered_json rows = run_size(options, bytes, ns_per_tick);
    if (rank() == 0) print(rows);
    for (const auto& row : rows) all.push_back(row);
  }
  if (rank() == 0 && !options.json.empty()) std::ofstream(options.json) << all.dump(2) << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Where the time of a small allreduce goes", "latency_bench");
  app.add_option("-b,--minbytes", options.bytes_min)->transform(CLI::AsSizeValue(false));
  app.add_option("-e,--maxbytes", options.bytes_max)->transform(CLI::AsSizeValue(false));
  app.add_option("-m,--agg_iters", options.iterations, "operations per measured time")
      ->check(CLI::Range(1, 1'000'000));
  app.add_option("-n,--iters", options.rounds, "measured times")->check(CLI::Range(1, 100'000));
  app.add_flag("--only-plan", options.only_plan, "runs the plan and times nothing: for profilers");
  app.add_option("--json", options.json, "file for the rows as JSON");
  CLI11_PARSE(app, argc, argv);
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
  {
    const Session session;
    run(options);
  }
  MPI_Finalize();
  return 0;
}
