// SPDX-License-Identifier: Apache-2.0
#include "simulation.h"

#include "../support/catch.h"

#include <filesystem>

using namespace ringleader::sim;

namespace {

/// Fewer where a sanitizer makes every step slow; it looks at the code, not at the schedules.
#ifdef RINGLEADER_SANITIZED
constexpr std::uint64_t kShare = 100;
#else
constexpr std::uint64_t kShare = 1;
#endif

struct Totals {
  std::uint64_t launches = 0;
  std::uint64_t replayed = 0;
};

Totals run_seeds(std::uint64_t first, std::uint64_t count, const ScenarioOptions& options) {
  Totals totals;
  for (std::uint64_t seed = first; seed < first + count / kShare; ++seed) {
    const Report report = run(generate(seed, options));
    INFO("seed " << seed << ", " << options.ranks_min << " to " << options.ranks_max << " ranks");
    REQUIRE(report.failure == "");
    totals.launches += report.launches;
    totals.replayed += report.replayed;
  }
  return totals;
}

ScenarioOptions ranks(int least, int most) {
  ScenarioOptions options;
  options.ranks_min = least;
  options.ranks_max = most;
  return options;
}

}  // namespace

TEST_CASE("the invariants hold for 18,000 seeds of 1 to 8 ranks") {
  const Totals totals = run_seeds(0, 18'000, ranks(1, 8));
  CHECK(totals.launches > 18'000 * 50 / kShare);  // the scenarios do something
  CHECK(totals.replayed > 18'000 * 20 / kShare);
}

TEST_CASE("the invariants hold for 2,000 seeds of 9 to 16 and 300 of 17 to 64 ranks") {
  run_seeds(100'000, 2'000, ranks(9, 16));
  run_seeds(200'000, 300, ranks(17, 64));
}

TEST_CASE("the invariants hold for a few seeds of 1,000 ranks") {
  if (kShare > 1) return;
  run_seeds(300'000, 3, ranks(1000, 1000));
}

TEST_CASE("a seed replays exactly") {
  const Report a = run(generate(42));
  const Report b = run(generate(42));
  CHECK(a.events == b.events);
  CHECK(a.virtual_time == b.virtual_time);
  CHECK(a.messages == b.messages);
}

TEST_CASE("the bugs that were found stay away") {
  int scenarios = 0;
  for (const auto& entry : std::filesystem::directory_iterator(RINGLEADER_SCENARIOS)) {
    if (entry.path().extension() != ".txt") continue;
    ++scenarios;
    Scenario scenario = read_scenario(entry.path().string());
    for (scenario.seed = 0; scenario.seed < 200; ++scenario.seed) {
      INFO(entry.path().filename() << ", seed " << scenario.seed);
      REQUIRE(run(scenario).failure == "");
    }
  }
  CHECK(scenarios >= 6);
}
