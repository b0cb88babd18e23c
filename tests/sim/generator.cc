// SPDX-License-Identifier: Apache-2.0
//
// Scenarios made from a seed, phase by phase. Every rank of a phase's process set gets the phase's
// wishes as one block, in an order of its own.
#include "random.h"
#include "scenario.h"
#include "spoil.h"

#include <algorithm>
#include <numeric>

namespace ringleader::sim {
namespace {

class Generator {
 public:
  Generator(const Random& random, std::uint64_t seed, const ScenarioOptions& options)
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

  Scenario generate() {
    for (int i = random_.between(0, 2); i > 0; --i) add_process_set();
    for (int i = random_.between(0, 2); i > 0; --i) add_plan();
    if (options_.mismatches && random_.chance(10)) add_mismatched_plan();
    scenario_.setup.reserve(scenario_.programs.size());
    for (const Program& program : scenario_.programs) scenario_.setup.push_back(program[0].size());
    for (int i = random_.between(1, 6); i > 0; --i) {
      if (random_.chance(20)) {
        overlapping_steps();
      } else {
        phase();
      }
    }
    const bool joins = options_.joins && threads_ == 1 && random_.chance(40);
    if (joins) uneven_phase();
    if (random_.chance(30)) phase();
    const bool deadlocks = options_.deadlocks && scenario_.ranks > 1 && random_.chance(20);
    if (deadlocks || random_.chance(30)) scenario_.grace = random_.between(20, 200);
    for (int i = deadlocks ? random_.between(1, 2) : 0; i > 0; --i) {
      deadlock();
      phase();
    }
    if (options_.faults && random_.chance(options_.fault_percent)) {
      add_fault();
    } else if (!plans_.empty() && scenario_.grace == 0 && threads_ == 1) {
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
    scenario_.operations.push_back({name, process_set, Expected::success, false});
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
  }

  void append(std::vector<Block> blocks, std::size_t thread) {
    for (int rank = 0; rank < scenario_.ranks; ++rank) {
      Block& block = block_of(rank, blocks);
      if (block.empty()) continue;
      scenario_.programs[static_cast<std::size_t>(rank)][thread].push_back(std::move(block));
    }
  }

  /// The same wish a second time, which must be refused while the first is in flight.
  void repeat_one(Block& block) {
    const std::size_t index = random_.below(block.size());
    if (block[index].plan_parameter || operation(block[index].operation).is_join) return;
    Wish again = block[index];
    again.repeated = true;
    block.insert(block.begin() + static_cast<std::ptrdiff_t>(index) + 1, std::move(again));
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

  Wish plan_wish(int process_set, int parameters, const std::string& name) {
    Wish wish;
    wish.request.op = Op::register_plan;
    wish.request.process_set = static_cast<std::uint32_t>(process_set);
    wish.request.name = name;
    for (int i = 0; i < parameters; ++i) {
      wish.request.tensors.push_back({"p" + std::to_string(i),
                                      {random_.between(1, 300)},
                                      random_.chance(80) ? DType::f32 : DType::f64});
    }
    wish.operation = add_operation(name, process_set);
    return wish;
  }

  int any_process_set() {
    return random_.between(0, static_cast<int>(scenario_.process_sets.size()) - 1);
  }

  void add_plan() {
    const Plan plan{any_process_set(), random_.between(1, 8)};
    Wish wish =
        plan_wish(plan.process_set, plan.parameters, "plan" + std::to_string(plans_.size()));
    wish.plan = static_cast<int>(plans_.size());
    plans_.push_back(plan);
    std::vector<Block> blocks = empty_blocks();
    for (const int rank : members(plan.process_set)) block_of(rank, blocks).push_back(wish);
    finish(std::move(blocks));
  }

  /// One rank registers other parameters than the rest: nobody gets the plan.
  void add_mismatched_plan() {
    if (scenario_.ranks < 2) return;
    const Wish wish = plan_wish(0, random_.between(2, 5), "wrong plan");
    operation(wish.operation).expected = Expected::mismatch;
    std::vector<Block> blocks = empty_blocks();
    for (Block& block : blocks) block.push_back(wish);
    spoil_plan(block_of(any_of(members(0)), blocks)[0].request, random_);
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

  protocol::Request random_request(int process_set, const std::string& name) {
    protocol::Request request;
    request.process_set = static_cast<std::uint32_t>(process_set);
    request.name = name;
    const int kind = random_.between(0, 10);
    request.op = kind < 6    ? Op::allreduce
                 : kind < 7  ? Op::broadcast
                 : kind < 8  ? Op::allgather
                 : kind < 9  ? Op::reduce_scatter
                 : kind < 10 ? Op::alltoall
                             : Op::barrier;
    if (request.op == Op::broadcast) request.root = members(process_set).front();
    if (request.op == Op::barrier) return request;
    const int tensors = request.op == Op::allreduce && random_.chance(25) ? 3 : 1;
    for (int i = 0; i < tensors; ++i) {
      request.tensors.push_back({"", {random_.between(1, 400)}, DType::f32});
    }
    return request;
  }

  std::string any_name(std::size_t thread) {
    return "t" + std::to_string(thread) + "." + std::to_string(random_.between(0, 9));
  }

  /// A few operations of one set, perhaps one of them mismatched.
  void add_dynamic(std::vector<Block>& blocks, const std::vector<int>& ranks, int process_set,
                   bool meets_join, std::size_t thread) {
    std::vector<std::string> used;
    for (int i = random_.between(1, 5); i > 0; --i) {
      const protocol::Request request = random_request(process_set, any_name(thread));
      if (std::find(used.begin(), used.end(), request.name) != used.end()) continue;
      used.push_back(request.name);
      const int index = add_operation(request.name, process_set);
      Operation& info = operation(index);
      if (meets_join) info.expected = Expected::success_or_joined;
      const bool spoilt =
          options_.mismatches && !meets_join && ranks.size() > 1 && random_.chance(10);
      if (spoilt) info.expected = Expected::mismatch;
      const int spoiler = any_of(ranks);
      for (const int rank : ranks) {
        Wish wish;
        wish.request = request;
        wish.operation = index;
        if (request.op == Op::allgather || request.op == Op::alltoall) {
          wish.request.tensors[0].shape[0] += rank;
        }
        if (spoilt && rank == spoiler) spoil(wish.request, random_);
        block_of(rank, blocks).push_back(std::move(wish));
      }
    }
  }

  void phase() {
    const std::size_t thread = random_.below(threads_);
    std::vector<Block> blocks = empty_blocks();
    const int set = any_process_set();
    add_dynamic(blocks, members(set), set, false, thread);
    if (random_.chance(30)) {
      const int other = any_process_set();
      if (other != set) add_dynamic(blocks, members(other), other, false, thread);
    }
    for (std::size_t plan = thread; plan < plans_.size(); plan += threads_) {
      if (random_.chance(70)) {
        add_plan_step(blocks, static_cast<int>(plan), members(plans_[plan].process_set));
      }
    }
    finish(std::move(blocks), thread);
  }

  /// Steps of a plan that begin before the last one has ended, as far as the protocol allows.
  void overlapping_steps() {
    const std::size_t thread = random_.below(threads_);
    std::vector<Block> all = empty_blocks();
    for (int step = random_.between(2, 4); step > 0; --step) {
      std::vector<Block> blocks = empty_blocks();
      for (std::size_t plan = thread; plan < plans_.size(); plan += threads_) {
        add_plan_step(blocks, static_cast<int>(plan), members(plans_[plan].process_set));
      }
      for (int rank = 0; rank < scenario_.ranks; ++rank) {
        Block& block = block_of(rank, blocks);
        random_.shuffle(block);
        Block& whole = block_of(rank, all);
        whole.insert(whole.end(), block.begin(), block.end());
      }
    }
    append(std::move(all), thread);
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
      if (random_.chance(60)) add_dynamic(blocks, ranks, 0, true, 0);
      for (std::size_t plan = 0; plan < plans_.size(); ++plan) {
        if (plans_[plan].process_set == 0) add_plan_step(blocks, static_cast<int>(plan), ranks);
      }
      finish(std::move(blocks));
    }
    Wish wish;
    wish.request.op = Op::join;
    wish.request.name = "join";
    wish.operation = add_operation("join", 0);
    operation(wish.operation).is_join = true;
    std::vector<Block> blocks = empty_blocks();
    for (Block& block : blocks) block.push_back(wish);
    finish(std::move(blocks));
  }

  /// One rank waits for something else than the others: a name, a gradient, another order.
  void deadlock() {
    std::vector<Block> blocks = empty_blocks();
    const int culprit = random_.between(0, scenario_.ranks - 1);
    const bool in_a_plan = !plans_.empty() && plans_[0].process_set == 0 && random_.chance(50);
    if (in_a_plan) {
      const std::size_t first = scenario_.operations.size();
      add_plan_step(blocks, 0, members(0));
      for (std::size_t i = first; i < scenario_.operations.size(); ++i) {
        scenario_.operations[i].expected = Expected::success_or_stalled;
      }
      Block& own = block_of(culprit, blocks);
      own.erase(own.begin() + static_cast<std::ptrdiff_t>(random_.below(own.size())));
    }
    const protocol::Request request = random_request(0, "wrong");
    const int times = random_.chance(30) ? 2 : 1;  // in another order: it happens twice
    for (int i = 0; i < times; ++i) {
      const int usual = add_operation("wrong", 0);
      const int other = add_operation("wring", 0);
      operation(usual).expected = operation(other).expected = Expected::stalled;
      for (int rank = 0; rank < scenario_.ranks; ++rank) {
        Wish wish;
        wish.request = request;
        wish.operation = rank == culprit ? other : usual;
        if ((rank == culprit) != (i == 1)) wish.request.name = "wring";
        block_of(rank, blocks).push_back(std::move(wish));
      }
      finish(std::exchange(blocks, empty_blocks()));
    }
  }

  void add_fault() {
    const std::int64_t time = random_.between(1, 60 * scenario_.think_max);
    scenario_.victim = random_.between(0, scenario_.ranks - 1);
    const int kind = options_.only_damage ? 2 : random_.between(0, 2);
    if (kind == 0) scenario_.shutdown_at = time;
    if (kind == 1) scenario_.loss_at = time;
    if (kind == 2) {
      scenario_.damage.kind = static_cast<Damage::Kind>(random_.between(1, 4));
      scenario_.damage.message = random_.between(0, 20 * scenario_.ranks);
    }
  }

  /// Steps of all plans and nothing else: after two of them, no message may be sent.
  void quiet_phase() {
    constexpr int kSteps = 5;
    for (int step = 0; step < kSteps; ++step) {
      std::vector<Block> blocks = empty_blocks();
      for (std::size_t plan = 0; plan < plans_.size(); ++plan) {
        add_plan_step(blocks, static_cast<int>(plan), members(plans_[plan].process_set));
      }
      finish(std::move(blocks));
    }
    scenario_.quiet_plan_steps = kSteps - 3;
  }

  ScenarioOptions options_;
  Random random_;
  Scenario scenario_;
  std::size_t threads_ = 1;
  std::vector<Plan> plans_;
};

}  // namespace

Scenario generate(std::uint64_t seed, const ScenarioOptions& options) {
  return Generator(Random(seed), seed, options).generate();
}

Scenario generate(const std::uint8_t* data, std::size_t size, const ScenarioOptions& options) {
  return Generator(Random(data, size), size, options).generate();
}

}  // namespace ringleader::sim
