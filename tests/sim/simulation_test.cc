// SPDX-License-Identifier: Apache-2.0
#include "simulation.h"

#include "../support/catch.h"

using namespace ringleader::sim;

namespace {

/// Fewer where a sanitizer makes every step slow; it looks at the code, not at the schedules.
#ifdef RINGLEADER_SANITIZED
constexpr std::uint64_t kSeeds = 100;
#else
constexpr std::uint64_t kSeeds = 1000;
#endif

struct Totals {
  std::uint64_t launches = 0;
  std::uint64_t replayed = 0;
};

void run_seeds(std::uint64_t first, std::uint64_t last, const ScenarioOptions& options,
               Totals& totals) {
  for (std::uint64_t seed = first; seed < last; ++seed) {
    const Report report = run(generate(seed, options));
    INFO("seed " << seed << ", " << options.ranks_min << " to " << options.ranks_max << " ranks");
    REQUIRE(report.failure == "");
    totals.launches += report.launches;
    totals.replayed += report.replayed;
  }
}

}  // namespace

TEST_CASE("the invariants hold for 1,000 seeds of 8 to 12 ranks") {
  ScenarioOptions options;
  options.ranks_min = 8;
  Totals totals;
  run_seeds(0, kSeeds, options, totals);
  CHECK(totals.launches > 100 * kSeeds);  // the scenarios do something
  CHECK(totals.replayed > 50 * kSeeds);
}

TEST_CASE("the invariants hold for 1,000 seeds of small and 20 of large worlds") {
  Totals totals;
  run_seeds(10'000, 10'000 + kSeeds, {}, totals);
  ScenarioOptions large;
  large.ranks_min = 64;
  large.ranks_max = 64;
  run_seeds(0, kSeeds / 50, large, totals);
}

TEST_CASE("a seed replays exactly") {
  const Report a = run(generate(42));
  const Report b = run(generate(42));
  CHECK(a.events == b.events);
  CHECK(a.virtual_time == b.virtual_time);
  CHECK(a.messages == b.messages);
}

// Seeds that once broke an invariant.
TEST_CASE("a rank that joins while it drains a cut runs the rest of the cut with zeros") {
  for (const std::uint64_t seed : {174, 391, 470, 822, 1372, 1387, 1422, 1448, 1502}) {
    INFO("seed " << seed);
    CHECK(run(generate(seed)).failure == "");
  }
}
