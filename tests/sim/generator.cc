// SPDX-License-Identifier: Apache-2.0
//
// Scenarios made from a seed, phase by phase. Every rank of a phase's process set gets the phase's
// submissions as one block, in an order of its own.
#include "builder.h"
#include "spoil.h"

#include <algorithm>

namespace ringleader::sim {
namespace {

class Generator : ScenarioBuilder {
 public:
  using ScenarioBuilder::ScenarioBuilder;

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
    const bool joinable = std::all_of(plans_.begin(), plans_.end(), [](const Plan& plan) {
      return plan.joinable || plan.process_set != 0;
    });
    const bool joins = options_.joins && threads_ == 1 && joinable && random_.chance(40);
    if (joins) uneven_phase();
    if (random_.chance(30)) phase();
    const bool deadlocks = options_.deadlocks && scenario_.ranks > 1 && random_.chance(20);
    if (deadlocks || random_.chance(30)) scenario_.grace = random_.between(20, 200);
    if (scenario_.grace > 0 && random_.chance(50)) {
      scenario_.wake_max = random_.between(1, 3 * static_cast<int>(scenario_.grace));
    }
    for (int i = deadlocks ? random_.between(1, 2) : 0; i > 0; --i) {
      deadlock();
      phase();
    }
    const bool fault = options_.faults && random_.chance(options_.fault_percent);
    const bool quiet = !fault && !plans_.empty() && scenario_.grace == 0 && threads_ == 1;
    if (fault) add_fault();
    if (quiet) quiet_phase();
    if (options_.joins && threads_ == 1 && !quiet && random_.chance(40)) release_and_join();
    return std::move(scenario_);
  }

 private:
  void add_process_set() {
    std::vector<int> ranks;
    for (int rank = 0; rank < scenario_.ranks; ++rank) {
      if (random_.chance(50)) ranks.push_back(rank);
    }
    if (ranks.empty()) ranks.push_back(random_.between(0, scenario_.ranks - 1));
    Submission submission;
    submission.request.kind = protocol::RequestKind::add_process_set;
    submission.request.name = "set";
    submission.request.ranks.assign(ranks.begin(), ranks.end());
    submission.makes_process_set = static_cast<int>(scenario_.process_sets.size());
    submission.operation = add_operation("set", 0);
    scenario_.process_sets.push_back(ranks);
    std::vector<Block> blocks = empty_blocks();
    for (Block& block : blocks) block.push_back(submission);
    finish(std::move(blocks));
  }

  void add_plan() {
    Plan plan{any_process_set(), random_.between(1, 8)};
    Submission submission =
        plan_submission(plan.process_set, plan.parameters, "plan" + std::to_string(plans_.size()));
    if (random_.chance(30)) {
      add_phases(plan, submission.request);
    } else {
      plan.phases.assign(submission.request.tensors.size(), 0);
    }
    submission.plan = static_cast<int>(plans_.size());
    plans_.push_back(plan);
    std::vector<Block> blocks = empty_blocks();
    for (const int rank : members(plan.process_set)) block_of(rank, blocks).push_back(submission);
    finish(std::move(blocks));
  }

  /// One rank registers other parameters than the rest: nobody gets the plan.
  void add_mismatched_plan() {
    if (scenario_.ranks < 2) return;
    const Submission submission = plan_submission(0, random_.between(2, 5), "wrong plan");
    operation(submission.operation).expected = Expected::mismatch;
    std::vector<Block> blocks = empty_blocks();
    for (Block& block : blocks) block.push_back(submission);
    spoil_plan(block_of(any_of(members(0)), blocks)[0].request, random_);
    finish(std::move(blocks));
  }

  void add_plan_step(std::vector<Block>& blocks, int plan, const std::vector<int>& ranks) {
    const Plan& info = plans_[static_cast<std::size_t>(plan)];
    for (int i = 0; i < info.parameters; ++i) {
      Submission submission;
      submission.plan = plan;
      submission.plan_parameter = i;
      submission.operation = add_operation("parameter" + std::to_string(i), info.process_set);
      std::vector<Block>& place = blocks_of(info.phases[static_cast<std::size_t>(i)], blocks);
      for (const int rank : ranks) block_of(rank, place).push_back(submission);
    }
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
        Submission submission;
        submission.request = request;
        submission.operation = index;
        if (request.op == Op::allgather || request.op == Op::alltoall ||
            request.op == Op::exchange) {
          submission.request.tensors[0].shape[0] += rank;
        }
        if (spoilt && rank == spoiler) spoil(submission.request, random_);
        block_of(rank, blocks).push_back(std::move(submission));
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
        if (plans_[plan].has_phases()) continue;  // whose steps cannot overlap
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
    Submission submission;
    submission.request.kind = protocol::RequestKind::join;
    submission.request.name = "join";
    submission.operation = add_operation("join", 0);
    operation(submission.operation).is_join = true;
    std::vector<Block> blocks = empty_blocks();
    for (Block& block : blocks) block.push_back(submission);
    finish(std::move(blocks));
  }

  /// Every rank gives its plans up and joins at once, without waiting for what the others do.
  void release_and_join() {
    std::vector<Block> blocks = empty_blocks();
    for (std::size_t plan = 0; plan < plans_.size(); ++plan) {
      Submission submission;
      submission.request.kind = protocol::RequestKind::release_plan;
      submission.request.process_set = static_cast<std::uint32_t>(plans_[plan].process_set);
      submission.request.name = "release" + std::to_string(plan);
      submission.plan = static_cast<int>(plan);
      submission.operation = add_operation(submission.request.name, plans_[plan].process_set);
      operation(submission.operation).is_release = true;
      for (const int rank : members(plans_[plan].process_set)) {
        block_of(rank, blocks).push_back(submission);
      }
    }
    Submission submission;
    submission.request.kind = protocol::RequestKind::join;
    submission.request.name = "join";
    submission.operation = add_operation("join", 0);
    operation(submission.operation).is_join = true;
    for (Block& block : blocks) block.push_back(submission);
    append(std::move(blocks), 0);
  }

  /// One rank waits for something else than the others: a name, a gradient, another order.
  void deadlock() {
    std::vector<Block> blocks = empty_blocks();
    const int culprit = random_.between(0, scenario_.ranks - 1);
    const bool in_a_plan = !plans_.empty() && plans_[0].process_set == 0 &&
                           !plans_[0].has_phases() && random_.chance(50);
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
        Submission submission;
        submission.request = request;
        submission.operation = rank == culprit ? other : usual;
        if ((rank == culprit) != (i == 1)) submission.request.name = "wring";
        block_of(rank, blocks).push_back(std::move(submission));
      }
      finish(std::exchange(blocks, empty_blocks()));
    }
  }

  /// Steps of all plans and nothing else: after two of them, no message may be sent.
  void quiet_phase() {
    constexpr int kSteps = 5;
    std::vector<std::size_t> loud;
    for (int step = 0; step < kSteps; ++step) {
      if (step == 3) {
        for (const Program& program : scenario_.programs) loud.push_back(program[0].size());
      }
      std::vector<Block> blocks = empty_blocks();
      for (std::size_t plan = 0; plan < plans_.size(); ++plan) {
        add_plan_step(blocks, static_cast<int>(plan), members(plans_[plan].process_set));
      }
      finish(std::move(blocks));
    }
    for (std::size_t rank = 0; rank < loud.size(); ++rank) {
      scenario_.quiet_blocks.push_back(scenario_.programs[rank][0].size() - loud[rank]);
    }
  }
};

}  // namespace

Scenario generate(std::uint64_t seed, const ScenarioOptions& options) {
  return Generator(Random(seed), seed, options).generate();
}

Scenario generate(const std::uint8_t* data, std::size_t size, const ScenarioOptions& options) {
  return Generator(Random(data, size), size, options).generate();
}

}  // namespace ringleader::sim
