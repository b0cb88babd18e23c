// SPDX-License-Identifier: Apache-2.0
//
// Runs scenarios of the simulator until one breaks an invariant or the time is up; then prints the
// seed, what the scenario is like, and everything that happened. scripts/sim_soak.sh starts it.
//
//   soak 60 1 12               # seconds, fewest and most ranks; seeds from the clock
//   soak seed 4711 1 12        # one seed again, with all its events
#include "simulation.h"

#include <fmt/core.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>

using namespace ringleader::sim;

namespace {

int replay(std::uint64_t seed, const ScenarioOptions& options, bool always) {
  const Scenario scenario = generate(seed, options);
  const Report report = run(scenario, always ? &std::cout : nullptr);
  if (report.failure.empty()) {
    if (always) fmt::print("seed {}: all invariants hold, {} events\n", seed, report.events);
    return 0;
  }
  if (!always) (void)run(scenario, &std::cout);
  fmt::print(
      "seed {} with {} to {} ranks: {}\n{} ranks, radix {}, delay {}, skew {}, think {}, grace {}, "
      "shutdown at {}, loss at {}, stop at {} (rank {}), damage {} of message {}\n",
      seed, options.ranks_min, options.ranks_max, report.failure, scenario.ranks, scenario.radix,
      scenario.delay_max, scenario.skew_max, scenario.think_max, scenario.grace,
      scenario.shutdown_at, scenario.loss_at, scenario.stop_at, scenario.victim,
      static_cast<int>(scenario.damage.kind), scenario.damage.message);
  return 1;
}

int soak(double seconds, const ScenarioOptions& options) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  auto seed =
      static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
  std::uint64_t runs = 0;
  for (; Clock::now() < end; ++seed, ++runs) {
    if (replay(seed, options, false) != 0) return 1;
  }
  fmt::print("{} scenarios, all invariants hold\n", runs);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const bool one = argc == 5 && std::string(argv[1]) == "seed";
  if (!one && argc != 4) {
    fmt::print(stderr, "usage: soak SECONDS MIN MAX | soak seed N MIN MAX\n");
    return 2;
  }
  ScenarioOptions options;
  options.ranks_min = std::atoi(argv[argc - 2]);
  options.ranks_max = std::atoi(argv[argc - 1]);
  if (one) return replay(std::strtoull(argv[2], nullptr, 10), options, true);
  return soak(std::atof(argv[1]), options);
}
