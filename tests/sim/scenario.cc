// SPDX-License-Identifier: Apache-2.0
#include "scenario.h"

#include "random.h"

#include <algorithm>
#include <numeric>

namespace ringleader::sim {
namespace {

/// Builds a scenario phase by phase. Every rank of a phase's set gets the phase's wishes as one
/// block, in an order of its own.
class Generator {
 public:
  Generator(std::uint64_t seed, const ScenarioOptions& options) : options_(options), random_(seed) {
    scenario_.seed = seed;
    scenario_.ranks = random_.between(options.ranks_min, options.ranks_max);
    scenario_.radix = random_.between(1, 4);
    scenario_.fusion_bytes_max = random_.between(1, 40) * 64;
    scenario_.names_max = random_.chance(20) ? 3 : 1000;
    scenario_.delay_max = random_.between(1, 50);
    scenario_.think_max = random_.between(1, 50);
    scenario_.programs.resize(static_cast<std::size_t>(scenario_.ranks));
    std::vector<int> world(static_cast<std::size_t>(scenario_.ranks));
    std::iota(world.begin(), world.end(), 0);
    scenario_.process_sets.push_back(world);
  }

  Scenario generate() {
    for (int i = random_.between(0, 2); i > 0; --i) add_process_set();
    for (int i = random_.between(0, 2); i > 0; --i) add_plan();
    for (int i = random_.between(1, 6); i > 0; --i) phase();
    if (options_.joins && random_.chance(40)) uneven_phase();
    if (random_.chance(30)) phase();
    if (options_.faults && random_.chance(30)) {
      (random_.chance(50) ? scenario_.shutdown_at : scenario_.loss_at) =
          random_.between(1, 60 * scenario_.think_max);
      scenario_.victim = random_.between(0, scenario_.ranks - 1);
    } else if (!plans_.empty()) {
      quiet_phase();
    }
    return std::move(scenario_);
  }

 private:
  struct Plan {
    int process_set = 0;
    int parameters = 0;
  };

  int add_operation(const std::string& name, int process_set) {
    scenario_.operations.push_back({name, process_set, false, false});
    return static_cast<int>(scenario_.operations.size()) - 1;
  }

  Block& block_of(int rank, std::vector<Block>& blocks) {
    return blocks[static_cast<std::size_t>(rank)];
  }

  const std::vector<int>& members(int process_set) {
    return scenario_.process_sets[static_cast<std::size_t>(process_set)];
  }

  std::vector<Block> empty_blocks() {
    return std::vector<Block>(static_cast<std::size_t>(scenario_.ranks));
  }

  void finish(std::vector<Block> blocks) {
    for (int rank = 0; rank < scenario_.ranks; ++rank) {
      Block& block = block_of(rank, blocks);
      random_.shuffle(block);
      if (!block.empty()) {
        scenario_.programs[static_cast<std::size_t>(rank)].push_back(std::move(block));
      }
    }
  }

  void add_process_set() {
    std::vector<int> ranks;
    for (int rank = 0; rank < scenario_.ranks; ++rank) {
      if (random_.chance(50)) ranks.push_back(rank);
    }
    if (ranks.empty()) ranks.push_back(random_.between(0, scenario_.ranks - 1));
    Wish wish;
    wish.request.op = Op::add_process_set;
    wish.request.name = "set";
    wish.request.ranks.assign(ranks.begin(), ranks.end());
    wish.makes_process_set = static_cast<int>(scenario_.process_sets.size());
    wish.operation = add_operation("set", 0);
    scenario_.process_sets.push_back(ranks);
    std::vector<Block> blocks = empty_blocks();
    for (Block& block : blocks) block.push_back(wish);
    finish(std::move(blocks));
  }

  void add_plan() {
    Plan plan;
    plan.process_set = random_.between(0, static_cast<int>(scenario_.process_sets.size()) - 1);
    plan.parameters = random_.between(1, 8);
    Wish wish;
    wish.request.op = Op::register_plan;
    wish.request.process_set = static_cast<std::uint32_t>(plan.process_set);
    wish.request.name = "plan" + std::to_string(plans_.size());
    for (int i = 0; i < plan.parameters; ++i) {
      wish.request.tensors.push_back({"p" + std::to_string(i),
                                      {random_.between(1, 300)},
                                      random_.chance(80) ? DType::f32 : DType::f64});
    }
    wish.plan = static_cast<int>(plans_.size());
    wish.operation = add_operation(wish.request.name, plan.process_set);
    plans_.push_back(plan);
    std::vector<Block> blocks = empty_blocks();
    for (const int rank : members(plan.process_set)) block_of(rank, blocks).push_back(wish);
    finish(std::move(blocks));
  }

  void add_plan_step(std::vector<Block>& blocks, int plan, const std::vector<int>& ranks) {
    const Plan& info = plans_[static_cast<std::size_t>(plan)];
    for (int i = 0; i < info.parameters; ++i) {
      Wish wish;
      wish.plan = plan;
      wish.plan_parameter = i;
      wish.operation = add_operation("parameter" + std::to_string(i), info.process_set);
      for (const int rank : ranks) block_of(rank, blocks).push_back(wish);
    }
  }

  protocol::Request random_request(int process_set) {
    protocol::Request request;
    request.process_set = static_cast<std::uint32_t>(process_set);
    request.name = "t" + std::to_string(random_.between(0, 9));
    const int kind = random_.between(0, 9);
    request.op = kind < 6   ? Op::allreduce
                 : kind < 7 ? Op::broadcast
                 : kind < 8 ? Op::allgather
                 : kind < 9 ? Op::reduce_scatter
                            : Op::barrier;
    if (request.op == Op::broadcast) request.root = members(process_set).front();
    if (request.op == Op::barrier) return request;
    const int tensors = request.op == Op::allreduce && random_.chance(25) ? 3 : 1;
    for (int i = 0; i < tensors; ++i) {
      request.tensors.push_back({"", {random_.between(1, 400)}, DType::f32});
    }
    return request;
  }

  /// Makes one rank's request differ from the others'.
  void spoil(protocol::Request& request) {
    switch (random_.between(0, 3)) {
      case 0:
        if (!request.tensors.empty()) request.tensors[0].dtype = DType::i64;
        break;
      case 1:
        request.reduce_op = ReduceOp::max;
        break;
      case 2:
        request.prescale = 0.5;
        break;
      default:
        request.device = Device::cuda;
    }
    request.postscale = 2.0;
  }

  /// A few operations of one set, perhaps one of them mismatched.
  void add_dynamic(std::vector<Block>& blocks, const std::vector<int>& ranks, int process_set,
                   bool meets_join) {
    std::vector<std::string> used;
    for (int i = random_.between(1, 5); i > 0; --i) {
      const protocol::Request request = random_request(process_set);
      if (std::find(used.begin(), used.end(), request.name) != used.end()) continue;
      used.push_back(request.name);
      const int operation = add_operation(request.name, process_set);
      Operation& info = scenario_.operations[static_cast<std::size_t>(operation)];
      info.may_meet_join = meets_join;
      info.mismatch = options_.mismatches && !meets_join && ranks.size() > 1 && random_.chance(10);
      const int spoiler =
          ranks[static_cast<std::size_t>(random_.between(0, static_cast<int>(ranks.size()) - 1))];
      for (const int rank : ranks) {
        Wish wish;
        wish.request = request;
        wish.operation = operation;
        if (request.op == Op::allgather) wish.request.tensors[0].shape[0] += rank;
        if (info.mismatch && rank == spoiler) spoil(wish.request);
        block_of(rank, blocks).push_back(std::move(wish));
      }
    }
  }

  void phase() {
    std::vector<Block> blocks = empty_blocks();
    const int set = random_.between(0, static_cast<int>(scenario_.process_sets.size()) - 1);
    add_dynamic(blocks, members(set), set, false);
    if (random_.chance(30)) {
      const int other = random_.between(0, static_cast<int>(scenario_.process_sets.size()) - 1);
      if (other != set) add_dynamic(blocks, members(other), other, false);
    }
    for (std::size_t plan = 0; plan < plans_.size(); ++plan) {
      if (random_.chance(70)) {
        add_plan_step(blocks, static_cast<int>(plan), members(plans_[plan].process_set));
      }
    }
    finish(std::move(blocks));
  }

  /// Ranks run out of work at different steps, join, and go on together.
  void uneven_phase() {
    const int steps = random_.between(1, 4);
    std::vector<int> quota;
    for (int rank = 0; rank < scenario_.ranks; ++rank) quota.push_back(random_.between(0, steps));
    for (int step = 0; step < steps; ++step) {
      std::vector<int> ranks;
      for (int rank = 0; rank < scenario_.ranks; ++rank) {
        if (quota[static_cast<std::size_t>(rank)] > step) ranks.push_back(rank);
      }
      if (ranks.empty()) break;
      std::vector<Block> blocks = empty_blocks();
      if (random_.chance(60)) add_dynamic(blocks, ranks, 0, true);
      for (std::size_t plan = 0; plan < plans_.size(); ++plan) {
        if (plans_[plan].process_set == 0) add_plan_step(blocks, static_cast<int>(plan), ranks);
      }
      finish(std::move(blocks));
    }
    Wish wish;
    wish.request.op = Op::join;
    wish.request.name = "join";
    wish.operation = add_operation("join", 0);
    std::vector<Block> blocks = empty_blocks();
    for (Block& block : blocks) block.push_back(wish);
    finish(std::move(blocks));
  }

  /// Steps of all plans and nothing else: after two of them, no message may be sent.
  void quiet_phase() {
    constexpr int kSteps = 5;
    scenario_.quiet_plan_steps = kSteps - 3;
    for (int step = 0; step < kSteps; ++step) {
      std::vector<Block> blocks = empty_blocks();
      for (std::size_t plan = 0; plan < plans_.size(); ++plan) {
        add_plan_step(blocks, static_cast<int>(plan), members(plans_[plan].process_set));
      }
      finish(std::move(blocks));
    }
  }

  ScenarioOptions options_;
  Random random_;
  Scenario scenario_;
  std::vector<Plan> plans_;
};

}  // namespace

Scenario generate(std::uint64_t seed, const ScenarioOptions& options) {
  return Generator(seed, options).generate();
}

}  // namespace ringleader::sim
