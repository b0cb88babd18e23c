// SPDX-License-Identifier: Apache-2.0
//
// Simulation: the production protocol objects of many virtual ranks under a seeded scheduler with
// virtual time. A scenario replays exactly.
//
//   Report report = run(generate(seed));
//   if (!report.failure.empty()) ...   // which invariant broke, and the last events
//
// After every event the checkers of invariants I0 to I9 look at what the nodes did.
#pragma once

#include "scenario.h"

#include <cstdint>
#include <ostream>
#include <string>

namespace ringleader::sim {

struct Report {
  std::string failure;  ///< empty if all invariants held
  std::int64_t events = 0;
  std::int64_t virtual_time = 0;
  std::uint64_t messages = 0;
  std::uint64_t launches = 0;
  std::uint64_t replayed = 0;  ///< launches without negotiation
};

/// With a trace, every submission, launch and completion is written to it, a line each.
Report run(const Scenario& scenario, std::ostream* trace = nullptr);

}  // namespace ringleader::sim
