// SPDX-License-Identifier: Apache-2.0
//
// Do the checkers bite? Each fault that mutation.h lists is put into the protocol, and must break
// an invariant within 500 seeds.
#include "../support/catch.h"
#include "simulation.h"

#include <ringleader/core/protocol/mutated.h>

#include <cstdio>
#include <string>

using namespace ringleader;
using namespace ringleader::sim;
using protocol::Mutation;

namespace {

constexpr std::uint64_t kSeeds = 500;

/// The first seed that notices the mutation, and what it says; kSeeds if none does.
std::pair<std::uint64_t, std::string> first_seed_to_notice(Mutation mutation) {
  ScenarioOptions options;
  const bool damage = mutation == Mutation::accept_repeats || mutation == Mutation::accept_damage;
  options.fault_percent = damage ? 100 : 60;  // some mutations show only then
  options.only_damage = damage;
  options.only_stops = mutation >= Mutation::never_overdue && mutation < Mutation::count;
  if (options.only_stops) options.fault_percent = 100;
  protocol::active_mutation = mutation;
  std::pair<std::uint64_t, std::string> found{kSeeds, ""};
  for (std::uint64_t seed = 0; seed < kSeeds && found.second.empty(); ++seed) {
    const Report report = run(generate(seed, options));
    if (!report.failure.empty()) found = {seed, report.failure};
  }
  protocol::active_mutation = Mutation::none;
  return found;
}

}  // namespace

TEST_CASE("every mutation of the protocol is noticed within 500 seeds") {
  for (int i = 1; i < static_cast<int>(Mutation::count); ++i) {
    const auto [seed, failure] = first_seed_to_notice(static_cast<Mutation>(i));
    std::printf("mutation %2d: seed %3d: %.100s\n", i, static_cast<int>(seed), failure.c_str());
    CHECK(seed < kSeeds);
  }
}

TEST_CASE("the protocol without a mutation passes the same seeds") {
  CHECK(first_seed_to_notice(Mutation::none).second == "");
}
