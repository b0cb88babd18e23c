// SPDX-License-Identifier: Apache-2.0
//
// ScenarioBuilder: the parts of which the generator makes scenarios. Every rank gets the
// submissions of a phase as one block, in an order of its own.
#pragma once

#include "random.h"
#include "scenario.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace ringleader::sim {

class ScenarioBuilder {
 public:
  ScenarioBuilder(const Random& random, std::uint64_t seed, const ScenarioOptions& options)
      : options_(options), random_(random) {
    scenario_.seed = seed;
    scenario_.ranks = random_.between(options.ranks_min, options.ranks_max);
    scenario_.radix = random_.between(1, 4);
    scenario_.fusion_bytes_max = random_.between(1, 40) * 64;
    scenario_.names_max = random_.chance(20) ? 3 : 1000;
    scenario_.delay_max = random_.between(1, 50);
    scenario_.skew_max = random_.chance(30) ? random_.between(1, 500) : 0;
    scenario_.think_max = random_.between(1, 50);
    scenario_.burst_percent = random_.chance(50) ? random_.between(10, 90) : 0;
    threads_ = random_.chance(30) ? 2 : 1;
    scenario_.programs.resize(static_cast<std::size_t>(scenario_.ranks), Program(threads_));
    std::vector<int> world(static_cast<std::size_t>(scenario_.ranks));
    std::iota(world.begin(), world.end(), 0);
    scenario_.process_sets.push_back(world);
  }

 protected:
  struct Plan {
    int process_set = 0;
    int parameters = 0;
    std::vector<int> phases = {};  ///< per parameter
    bool joinable = true;          ///< ranks that have joined can follow it
    bool has_phases() const { return phases.back() > 0; }
  };

  int add_operation(const std::string& name, int process_set) {
    scenario_.operations.push_back({name, process_set, Expected::success, false, false});
    return static_cast<int>(scenario_.operations.size()) - 1;
  }

  Operation& operation(int index) { return scenario_.operations[static_cast<std::size_t>(index)]; }

  Block& block_of(int rank, std::vector<Block>& blocks) {
    return blocks[static_cast<std::size_t>(rank)];
  }

  const std::vector<int>& members(int process_set) {
    return scenario_.process_sets[static_cast<std::size_t>(process_set)];
  }

  int any_of(const std::vector<int>& ranks) { return ranks[random_.below(ranks.size())]; }

  std::vector<Block> empty_blocks() {
    return std::vector<Block>(static_cast<std::size_t>(scenario_.ranks));
  }

  void finish(std::vector<Block> blocks, std::size_t thread = 0) {
    for (int rank = 0; rank < scenario_.ranks; ++rank) {
      Block& block = block_of(rank, blocks);
      random_.shuffle(block);
      if (!block.empty() && random_.chance(5)) repeat_one(block);
    }
    append(std::move(blocks), thread);
    for (std::vector<Block>& later : std::exchange(later_, {})) finish(std::move(later), thread);
  }

  /// Where the submissions of a later phase of the blocks' plans go.
  std::vector<Block>& blocks_of(int phase, std::vector<Block>& first) {
    if (phase == 0) return first;
    while (later_.size() < static_cast<std::size_t>(phase)) later_.push_back(empty_blocks());
    return later_[static_cast<std::size_t>(phase) - 1];
  }

  void append(std::vector<Block> blocks, std::size_t thread) {
    for (int rank = 0; rank < scenario_.ranks; ++rank) {
      Block& block = block_of(rank, blocks);
      if (block.empty()) continue;
      scenario_.programs[static_cast<std::size_t>(rank)][thread].push_back(std::move(block));
    }
  }

  /// The same submission a second time, which must be refused while the first is in flight.
  void repeat_one(Block& block) {
    const std::size_t index = random_.below(block.size());
    if (block[index].plan_parameter || operation(block[index].operation).is_join) return;
    Submission again = block[index];
    again.repeated = true;
    block.insert(block.begin() + static_cast<std::ptrdiff_t>(index) + 1, std::move(again));
  }

  int any_process_set() {
    return random_.between(0, static_cast<int>(scenario_.process_sets.size()) - 1);
  }

  Submission plan_submission(int process_set, int parameters, const std::string& name) {
    Submission submission;
    submission.request.kind = protocol::RequestKind::register_plan;
    submission.request.process_set = static_cast<std::uint32_t>(process_set);
    submission.request.name = name;
    for (int i = 0; i < parameters; ++i) {
      submission.request.tensors.push_back({"p" + std::to_string(i),
                                            {random_.between(1, 300)},
                                            random_.chance(80) ? DType::f32 : DType::f64});
    }
    submission.operation = add_operation(name, process_set);
    return submission;
  }

  /// Several phases, and other verbs than allreduce.
  void add_phases(Plan& plan, protocol::Request& request) {
    int phase = 0;
    for (protocol::TensorSpec& tensor : request.tensors) {
      if (!plan.phases.empty() && random_.chance(30)) ++phase;
      tensor.phase = phase;
      plan.phases.push_back(phase);
      const int kind = random_.between(0, 7);
      tensor.op = kind < 4   ? Op::allreduce
                  : kind < 5 ? Op::reduce_scatter
                  : kind < 6 ? Op::allgather
                  : kind < 7 ? Op::exchange
                             : Op::broadcast;
      if (tensor.op == Op::exchange) tensor.to = pairs(plan.process_set);
      if (tensor.op == Op::broadcast) tensor.root = members(plan.process_set).front();
      plan.joinable = plan.joinable && tensor.op == Op::allreduce;
    }
  }

  protocol::Request random_request(int process_set, const std::string& name) {
    protocol::Request request;
    request.process_set = static_cast<std::uint32_t>(process_set);
    request.name = name;
    const int kind = random_.between(0, 11);
    if (kind == 11) {
      request.kind = protocol::RequestKind::barrier;
      return request;
    }
    request.op = kind < 6    ? Op::allreduce
                 : kind < 7  ? Op::broadcast
                 : kind < 8  ? Op::allgather
                 : kind < 9  ? Op::reduce_scatter
                 : kind < 10 ? Op::alltoall
                             : Op::exchange;
    if (request.op == Op::broadcast) request.root = members(process_set).front();
    if (request.op == Op::exchange) request.ranks = pairs(process_set);
    const int tensors = request.op == Op::allreduce && random_.chance(25) ? 3 : 1;
    for (int i = 0; i < tensors; ++i) {
      request.tensors.push_back({"", {random_.between(1, 400)}, DType::f32});
    }
    return request;
  }

  /// A random pairing of the members of a set, in which some send nothing.
  std::vector<std::int32_t> pairs(int process_set) {
    std::vector<int> to = members(process_set);
    random_.shuffle(to);
    for (int& rank : to) {
      if (random_.chance(30)) rank = -1;
    }
    return {to.begin(), to.end()};
  }

  std::string any_name(std::size_t thread) {
    return "t" + std::to_string(thread) + "." + std::to_string(random_.between(0, 9));
  }

  void add_fault() {
    const std::int64_t time = random_.between(1, 60 * scenario_.think_max);
    scenario_.victim = random_.between(0, scenario_.ranks - 1);
    const int kind = options_.only_damage ? 2 : options_.only_stops ? 3 : random_.between(0, 3);
    if (kind == 0) scenario_.shutdown_at = time;
    if (kind == 1) scenario_.loss_at = time;
    if (kind == 3) {
      scenario_.stop_at = time;
      scenario_.grace = std::max<std::int64_t>(scenario_.grace, 20);
      scenario_.stall_warning = random_.between(50, 500);
      scenario_.stall_abort = random_.between(500, 3000);
    }
    if (kind == 2) {
      scenario_.damage.kind = static_cast<Damage::Kind>(random_.between(1, 4));
      scenario_.damage.message = random_.between(0, 20 * scenario_.ranks);
    }
  }

  ScenarioOptions options_;
  Random random_;
  Scenario scenario_;
  std::size_t threads_ = 1;
  std::vector<Plan> plans_;
  std::vector<std::vector<Block>> later_;  ///< after the blocks that are being made
};

}  // namespace ringleader::sim
