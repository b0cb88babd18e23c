// SPDX-License-Identifier: Apache-2.0
//
// Scenario: what the virtual ranks do, generated from a seed or written by hand.
//
// A rank's program is a sequence of blocks. It submits the wishes of a block one by one, waits
// until all of them have completed, and goes on to the next block.
#pragma once

#include <ringleader/core/protocol/request.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ringleader::sim {

/// What may become of an operation. The same index on several ranks is the same operation.
struct Operation {
  std::string name;
  int process_set = 0;         ///< index in Scenario::process_sets
  bool mismatch = false;       ///< ranks disagree: every member gets the same error
  bool may_meet_join = false;  ///< some rank may have joined: success or Code::joined
};

struct Wish {
  int operation = 0;                  ///< index in Scenario::operations
  protocol::Request request;          ///< process_set and target are indices of the scenario
  std::optional<int> plan_parameter;  ///< instead of the request: parameter of `plan`
  int plan = -1;                      ///< parameter: which plan; register_plan: which it makes
  int makes_process_set = -1;         ///< add_process_set: which it makes
};

using Block = std::vector<Wish>;

struct Scenario {
  std::uint64_t seed = 0;
  int ranks = 8;
  int radix = 2;
  std::int64_t fusion_bytes_max = 4096;
  std::size_t names_max = 1000;
  int delay_max = 20;                          ///< of a message, in ticks of virtual time
  int think_max = 20;                          ///< between two wishes of a rank
  std::vector<std::vector<int>> process_sets;  ///< world ranks; the first is the world
  std::vector<Operation> operations;
  std::vector<std::vector<Block>> programs;  ///< per rank
  std::int64_t shutdown_at = -1;             ///< time at which `victim` shuts down, or -1
  std::int64_t loss_at = -1;                 ///< time at which `victim` dies, or -1
  int victim = 0;
  int quiet_plan_steps = 0;  ///< how many of the last blocks must need no message (I8)
};

struct ScenarioOptions {
  int ranks_min = 1;
  int ranks_max = 12;
  bool mismatches = true;
  bool joins = true;
  bool faults = true;  ///< shutdowns and losses
};

Scenario generate(std::uint64_t seed, const ScenarioOptions& options = {});

}  // namespace ringleader::sim
