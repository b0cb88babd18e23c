// SPDX-License-Identifier: Apache-2.0
//
// Scenario: what the virtual ranks do, generated from a seed or read from a file.
//
// A rank's program is one sequence of blocks per thread. A thread submits the submissions of a
// block one by one, waits until all of them have completed, and goes on to the next block.
#pragma once

#include <ringleader/core/protocol/request.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ringleader::sim {

/// How an operation must end on every rank that submits it.
enum class Expected : std::uint8_t {
  success,
  mismatch,           ///< ranks disagree: the same error on every member
  success_or_joined,  ///< some rank may have joined
  stalled,            ///< no rank could go on: proved, and ended
  success_or_stalled,
};

/// The same index on several ranks is the same operation.
struct Operation {
  std::string name;
  int process_set = 0;  ///< index in Scenario::process_sets
  Expected expected = Expected::success;
  bool is_join = false;
  bool is_release = false;  ///< of a plan
};

struct Submission {
  int operation = 0;                  ///< index in Scenario::operations
  protocol::Request request;          ///< process_set is an index of the scenario
  std::optional<int> plan_parameter;  ///< instead of the request: parameter of `plan`
  int plan = -1;  ///< parameter, release_plan: which plan; register_plan: which it makes
  int makes_process_set = -1;  ///< add_process_set: which it makes
  bool repeated = false;       ///< submitted again while it is in flight, which must be refused
};

using Block = std::vector<Submission>;
using Program = std::vector<std::vector<Block>>;  ///< per thread

/// What happens to one message on its way.
struct Damage {
  enum class Kind : std::uint8_t { none, garbled, truncated, repeated, oversized };
  Kind kind = Kind::none;
  std::int64_t message = 0;  ///< which one, counted over all links
};

struct Scenario {
  std::uint64_t seed = 0;
  int ranks = 8;
  int radix = 2;
  std::int64_t fusion_bytes_max = 4096;
  std::size_t names_max = 1000;
  int delay_max = 20;                          ///< of a message, in ticks of virtual time
  int skew_max = 0;                            ///< what some links are slower than others
  int think_max = 20;                          ///< between two submissions of a rank
  int wake_max = 1;                            ///< until a thread sees that it need not wait
  int burst_percent = 0;                       ///< that the next submission follows at once
  std::int64_t grace = 0;                      ///< until a blocked rank says so; 0: never
  std::vector<std::vector<int>> process_sets;  ///< world ranks; the first is the world
  std::vector<Operation> operations;
  std::vector<Program> programs;   ///< per rank
  std::vector<std::size_t> setup;  ///< per rank: blocks of the first thread before the others begin
  std::int64_t shutdown_at = -1;   ///< time at which `victim` shuts down, or -1
  std::int64_t loss_at = -1;       ///< time at which `victim` dies, or -1
  std::int64_t stop_at = -1;       ///< time from which `victim` does not run, untold, or -1
  std::int64_t stall_warning = 0;  ///< ticks until a rank that waits says so; 0: never
  std::int64_t stall_abort = 0;    ///< ticks until it gives up; 0: never
  int victim = 0;
  Damage damage;
  std::vector<std::size_t> quiet_blocks;  ///< per rank: the last ones that need no message (I8)

  bool has_faults() const {
    return shutdown_at >= 0 || loss_at >= 0 || stop_at >= 0 || damage.kind != Damage::Kind::none;
  }
};

struct ScenarioOptions {
  int ranks_min = 1;
  int ranks_max = 12;
  bool mismatches = true;
  bool joins = true;
  bool faults = true;        ///< shutdowns, losses, stopped ranks, damaged messages
  bool deadlocks = true;     ///< programs in which no rank can go on
  bool only_damage = false;  ///< every fault is a damaged message
  bool only_stops = false;   ///< every fault is a rank that does not run
  int fault_percent = 35;    ///< of the scenarios that have a fault
};

Scenario generate(std::uint64_t seed, const ScenarioOptions& options = {});

/// The same, with every choice taken from the bytes instead of a seed: for a fuzzer.
Scenario generate(const std::uint8_t* data, std::size_t size, const ScenarioOptions& options);

/// Reads a scenario of tests/sim/scenarios/, which says how they are written. Throws
/// std::runtime_error that names the line.
Scenario read_scenario(const std::string& path);

}  // namespace ringleader::sim
