// SPDX-License-Identifier: Apache-2.0
//
// Do the checkers bite? mutations.py puts faults into a copy of the protocol; each must break an
// invariant within 500 seeds.
#include "../support/catch.h"
#include "simulation.h"

#include <ringleader/core/protocol/mutation.h>

#include <cstdio>
#include <string>

using namespace ringleader;
using namespace ringleader::sim;
using protocol::Faults;
using protocol::Mutation;

namespace {

constexpr std::uint64_t kSeeds = 500;

/// The first seed that notices the mutation, and what it says; kSeeds if none does.
std::pair<std::uint64_t, std::string> first_seed_to_notice(Mutation mutation, Faults faults) {
  ScenarioOptions options;
  options.fault_percent = faults == Faults::any ? 60 : 100;  // some mutations show only then
  options.only_damage = faults == Faults::damage;
  options.only_stops = faults == Faults::stops;
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
  int number = 0;
  for (const protocol::MutationInfo& info : protocol::kMutations) {
    const auto [seed, failure] = first_seed_to_notice(static_cast<Mutation>(++number), info.faults);
    std::printf("%-16s: seed %3d: %.100s\n", info.name, static_cast<int>(seed), failure.c_str());
    CHECK(seed < kSeeds);
  }
  CHECK(number >= 25);
}

TEST_CASE("the protocol without a mutation passes the same seeds") {
  CHECK(first_seed_to_notice(Mutation::none, Faults::any).second == "");
}
