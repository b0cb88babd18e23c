// SPDX-License-Identifier: Apache-2.0
//
// Messages and time that the negotiation takes on many ranks:
//
//   protocol_sim --ranks 102400 --tensors 161 --radix 8 --mode dynamic --json result.json
//
// A first negotiation, in which the names travel, is not counted; then `--steps` are, in which each
// rank submits all tensors at once in an order of its own. What is printed are totals of all steps,
// but for the time, which is of one.
#include "logp.h"

#include <fmt/core.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <fstream>
#include <string>

using namespace ringleader::sim;

namespace {

struct Options {
  LogPOptions model;
  int steps = 1;
  std::string mode = "dynamic";
  std::string json;
};

struct Outcome {
  Traffic total;
  double time_us = 0;
  double bytes_per_idle_rank = 0;
  int depth = 0;
};

void add(Outcome& outcome, const Traffic& step) {
  outcome.total.messages += step.messages;
  outcome.total.bytes += step.bytes;
  outcome.total.messages_in_max += step.messages_in_max;
  outcome.time_us = std::max(outcome.time_us, step.time_us);
}

Outcome simulate(const Options& options) {
  Outcome outcome;
  if (options.mode == "naive") {
    for (int i = 0; i < options.steps; ++i) add(outcome, negotiate_naively(options.model));
    outcome.depth = options.model.ranks > 1 ? 1 : 0;
    return outcome;
  }
  LogP world(options.model);
  outcome.bytes_per_idle_rank = world.bytes_per_idle_rank();
  outcome.depth = world.depth();
  if (options.mode == "plan") {
    world.register_plan();
    for (int i = 0; i < options.steps; ++i) add(outcome, world.step());
  } else {
    world.introduce();
    for (int i = 0; i < options.steps; ++i) add(outcome, world.negotiate());
  }
  return outcome;
}

void report(const Options& options, const Outcome& outcome, double wall_s) {
  const nlohmann::ordered_json result = {{"ranks", options.model.ranks},
                                         {"tensors", options.model.tensors},
                                         {"radix", options.model.radix},
                                         {"mode", options.mode},
                                         {"messages_total", outcome.total.messages},
                                         {"messages_in_max", outcome.total.messages_in_max},
                                         {"bytes_total", outcome.total.bytes},
                                         {"depth", outcome.depth},
                                         {"time_us", outcome.time_us},
                                         {"bytes_per_idle_rank", outcome.bytes_per_idle_rank},
                                         {"wall_s", wall_s}};
  for (const auto& [key, value] : result.items()) fmt::print("{:20} {}\n", key, value.dump());
  if (!options.json.empty()) std::ofstream(options.json) << result.dump(2) << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  // What is freed is soon wanted again: giving it back to the system took a fifth of the time.
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  Options options;
  CLI::App app("Messages and time that the negotiation takes on many ranks");
  app.add_option("--ranks", options.model.ranks)->check(CLI::Range(1, 1 << 22));
  app.add_option("--tensors", options.model.tensors)->check(CLI::Range(1, 1 << 20));
  app.add_option("--radix", options.model.radix)->check(CLI::Range(1, 32));
  app.add_option("--alpha-us", options.model.alpha_us, "latency, with both overheads")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--overhead-us", options.model.overhead_us, "processor time per message and end")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--steps", options.steps)->check(CLI::Range(1, 1 << 20));
  app.add_option("--mode", options.mode)->check(CLI::IsMember({"dynamic", "plan", "naive"}));
  app.add_option("--seed", options.model.seed);
  app.add_option("--json", options.json, "file for the result");
  CLI11_PARSE(app, argc, argv);
  try {
    const auto begin = std::chrono::steady_clock::now();
    const Outcome outcome = simulate(options);
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begin;
    report(options, outcome, wall.count());
  } catch (const std::exception& error) {
    fmt::print(stderr, "protocol_sim: {}\n", error.what());
    return 1;
  }
  return 0;
}
