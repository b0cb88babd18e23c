// SPDX-License-Identifier: Apache-2.0
#include "simulation.h"

#include "checker.h"
#include "random.h"
#include "timeline.h"
#include "virtual_rank.h"

#include <ringleader/core/protocol/node.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

namespace ringleader::sim {
namespace {

/// More events than any generated scenario needs; a run that reaches it does not terminate.
constexpr std::int64_t kEventsPerRankMax = 200'000;

/// By then every rank that waits for one that is stopped has given up: abort limits are at most 3
/// s.
constexpr std::int64_t kTicksAfterStop = 120'000;

/// One tick of virtual time is a millisecond to the nodes.
constexpr protocol::Time kMicrosecondsPerTick = 1000;

class Simulation {
 public:
  Simulation(const Scenario& scenario, std::ostream* out)
      : scenario_(scenario), trace_(out), random_(scenario.seed ^ 0x5eed), checker_(scenario) {
    for (int rank = 0; rank < scenario.ranks; ++rank) {
      VirtualRank& state = ranks_.emplace_back(scenario, rank);
      for (std::size_t thread = 0; thread < state.threads.size(); ++thread) {
        timeline_.after(random_.between(0, scenario.think_max), [=, this] { think(rank, thread); });
      }
    }
    if (scenario.shutdown_at >= 0) {
      timeline_.after(scenario.shutdown_at, [this] {
        trace(scenario_.victim, "shuts down");
        at(scenario_.victim).node->request_shutdown();
        pump(scenario_.victim);
      });
    }
    if (scenario.loss_at >= 0) timeline_.after(scenario.loss_at, [this] { kill(); });
    if (scenario.stop_at >= 0) {
      timeline_.after(scenario.stop_at, [this] {
        trace(scenario_.victim, "does not run any more");
        at(scenario_.victim).dead = true;
      });
    }
  }

  Report run() {
    const std::int64_t events_max = kEventsPerRankMax * scenario_.ranks;
    while (!timeline_.empty() && checker_.failure().empty()) {
      timeline_.step();
      if (++report_.events > events_max) checker_.fail("I6", "the run does not end");
    }
    if (checker_.failure().empty()) {
      checker_.finished(scenario_.has_faults());
      if (!scenario_.has_faults()) check_rest();
    }
    report_.failure = checker_.failure();
    report_.virtual_time = timeline_.now();
    return report_;
  }

 private:
  VirtualRank& at(int rank) { return ranks_[static_cast<std::size_t>(rank)]; }

  void trace(int rank, const std::string& what) {
    if (trace_ != nullptr) *trace_ << timeline_.now() << " rank " << rank << ": " << what << "\n";
  }

  std::string name_of(int operation) const {
    if (operation < 0) return "zeros";
    return scenario_.operations[static_cast<std::size_t>(operation)].name + "#" +
           std::to_string(operation);
  }

  /// A thread of the rank submits its next submission.
  void think(int rank, std::size_t index) {
    VirtualRank& state = at(rank);
    if (state.dead || state.has_finished(index)) return;
    if (!state.may_begin(index))
      return timeline_.after(scenario_.think_max, [=, this] { think(rank, index); });
    VirtualThread& thread = state.threads[index];
    const Block& block = state.program()[index][thread.block];
    if (thread.submission < block.size()) {
      do {  // what is submitted in a burst goes into one message
        submit(rank, index, block[thread.submission++]);
      } while (thread.submission < block.size() && random_.chance(scenario_.burst_percent));
      pump(rank);
      timeline_.after(random_.between(1, scenario_.think_max), [=, this] { think(rank, index); });
    } else {
      wait(rank, index);
    }
  }

  /// A thread of the rank has nothing more to submit in its block: it waits for one operation after
  /// another, and then goes on to the next block.
  void wait(int rank, std::size_t index) {
    VirtualRank& state = at(rank);
    VirtualThread& thread = state.threads[index];
    thread.awaited = protocol::kNoToken;
    std::erase_if(thread.submitted,
                  [&](protocol::Token token) { return state.pending.count(token) == 0; });
    if (!thread.submitted.empty()) {
      thread.awaited = thread.submitted.front();
      return;
    }
    ++thread.block;
    thread.submission = 0;
    if (index == 0) note_quiet(rank);
    timeline_.after(1, [=, this] { think(rank, index); });
  }

  void submit(int rank, std::size_t thread, const Submission& submission) {
    VirtualRank& state = at(rank);
    const protocol::Token token = state.next_token++;
    Status status;
    if (submission.plan_parameter) {
      const auto plan = state.plans.find(submission.plan);
      if (plan == state.plans.end()) return;  // registering it failed with the shutdown
      status = state.node->submit_parameter(token, plan->second,
                                            static_cast<std::uint32_t>(*submission.plan_parameter));
      if (status.code() == Code::duplicate_name) {  // of the step before: again later
        --state.threads[thread].submission;
        return;
      }
    } else {
      protocol::Request request = submission.request;
      const auto set = state.process_sets.find(static_cast<int>(request.process_set));
      if (set == state.process_sets.end()) return;
      request.process_set = set->second;
      if (request.kind == protocol::RequestKind::release_plan) {
        const auto plan = state.plans.find(submission.plan);
        if (plan == state.plans.end()) return;  // as above
        request.target = plan->second;
      }
      const bool refused = submission.repeated && state.is_pending(submission.operation);
      if (submission.repeated && !refused)
        return;  // the first is over; this would be another operation
      status = state.node->submit(token, request);
      if (refused && !state.node->stopped() && status.code() != Code::duplicate_name &&
          status.code() != Code::shutdown) {
        checker_.fail("I2", "rank " + std::to_string(rank) + " may repeat " + request.name);
      }
      if (refused) return;
    }
    trace(rank, "submits " + name_of(submission.operation));
    if (!status.ok()) {
      if (!state.node->stopped() && status.code() != Code::shutdown) {
        checker_.fail("I2", "rank " + std::to_string(rank) + " is refused: " + status.message());
      }
      return;
    }
    state.pending[token] = {submission, thread};
    state.threads[thread].submitted.push_back(token);
    checker_.submitted(rank, submission.operation);
  }

  /// Takes what the node wants done.
  void pump(int rank) {
    VirtualRank& state = at(rank);
    for (protocol::Action& action : state.node->take_actions()) {
      if (auto* launch = std::get_if<protocol::Launch>(&action)) start(rank, *launch);
      if (auto* completion = std::get_if<protocol::Completion>(&action)) finish(rank, *completion);
    }
    for (protocol::OutgoingMessage& message : state.node->take_messages()) {
      send(rank, message.to, std::move(message.bytes));
    }
    // Beside a rank that does not run, a join may wait for ever: time ends when all alarms are
    // over.
    const bool time_goes_on =
        scenario_.stop_at < 0 || timeline_.now() < scenario_.stop_at + kTicksAfterStop;
    if (scenario_.grace > 0 && time_goes_on && state.wants_ticks() &&
        !std::exchange(state.ticking, true)) {
      timeline_.after(std::max<std::int64_t>(1, scenario_.grace / 4), [this, rank] { tick(rank); });
    }
  }

  void tick(int rank) {
    VirtualRank& state = at(rank);
    state.ticking = false;
    if (state.dead) return;
    state.node->tick(timeline_.now() * kMicrosecondsPerTick, state.awaited());
    pump(rank);
  }

  void send(int from, int to, protocol::Payload bytes) {
    const bool quiet = quiet_ranks_ == scenario_.ranks && !scenario_.quiet_blocks.empty();
    if (quiet && !delivering_) {  // what is passed on was sent before
      checker_.fail("I8", "rank " + std::to_string(from) + " sends in a step of armed plans");
    }
    bool repeat = false;
    if (static_cast<std::int64_t>(report_.messages++) == scenario_.damage.message) {
      repeat = scenario_.damage.kind == Damage::Kind::repeated;
      bytes = damaged(scenario_.damage.kind, bytes, random_);
    }
    // Messages of a link keep their order, and some links are slower than others.
    const int skew = scenario_.skew_max * ((from * 7 + to * 13) % 5) / 4;
    std::int64_t& arrival = arrivals_[{from, to}];
    for (int copies = repeat ? 2 : 1; copies > 0; --copies) {
      const std::int64_t time = timeline_.now() + skew + random_.between(1, scenario_.delay_max);
      arrival = std::max(arrival, time);
      const std::int64_t late = copies == 2 ? random_.between(0, 10 * scenario_.delay_max) : 0;
      timeline_.at(arrival + late, [=, this] { deliver(from, to, bytes); });
    }
  }

  void deliver(int from, int to, const protocol::Payload& bytes) {
    VirtualRank& state = at(to);
    if (state.dead) return;
    const Result<protocol::Message>& message = decoder_.decoded(bytes);
    Status status;
    if (message.ok()) {
      const auto* append = std::get_if<protocol::LogAppend>(&*message);
      const bool next = append != nullptr && append->first == state.node->log_length();
      if (next && !state.node->stopped()) checker_.log(to, *append);
      status = state.node->receive(from, *message, bytes);
    } else {
      status = state.node->receive(from, bytes);
    }
    if (!status.ok()) {
      trace(to, status.message());
      if (scenario_.damage.kind == Damage::Kind::none) checker_.fail("I9", status.message());
    }
    delivering_ = true;
    pump(to);
    delivering_ = false;
  }

  /// The data plane: a batch runs when all living members have launched it, and finishes at a
  /// different time on each.
  void start(int rank, const protocol::Launch& launch) {
    ++report_.launches;
    if (launch.replayed) ++report_.replayed;
    VirtualRank& state = at(rank);
    std::vector<int> operations;
    for (const protocol::LaunchItem& item : launch.items) {
      const auto found = state.pending.find(item.token);
      operations.push_back(found == state.pending.end() ? -1 : found->second.submission.operation);
    }
    std::string names;
    for (const int operation : operations) names += " " + name_of(operation);
    trace(rank, "launches on channel " + std::to_string(launch.channel) + ":" + names +
                    (launch.replayed ? " (replayed)" : ""));
    checker_.launched(rank, launch, operations);
    auto& rendezvous = rendezvous_[{launch.channel, launched_[{rank, launch.channel}]++}];
    rendezvous.push_back({rank, launch.id});
    if (rendezvous.size() < state.node->catalog().size_of_set(launch.process_set)) return;
    for (const auto& [member, id] : rendezvous) {
      timeline_.after(random_.between(1, scenario_.delay_max), [this, member = member, id = id] {
        if (at(member).dead) return;
        at(member).node->finished(id);
        pump(member);
      });
    }
  }

  void finish(int rank, const protocol::Completion& completion) {
    VirtualRank& state = at(rank);
    const auto found = state.pending.find(completion.token);
    if (found == state.pending.end()) {
      checker_.fail("I2", "rank " + std::to_string(rank) + " completes an unknown token");
      return;
    }
    const auto [submission, thread] = found->second;
    state.pending.erase(found);
    trace(rank, name_of(submission.operation) +
                    " ends: " + (completion.status.ok() ? "ok" : completion.status.message()));
    if (completion.status.ok()) {
      const auto id = static_cast<std::uint32_t>(completion.value);
      if (submission.makes_process_set >= 0) state.process_sets[submission.makes_process_set] = id;
      if (submission.request.kind == protocol::RequestKind::register_plan) {
        state.plans[submission.plan] = id;
      }
    }
    checker_.completed(rank, submission.operation, completion);
    if (state.threads[thread].awaited == completion.token) {
      timeline_.after(random_.between(1, scenario_.wake_max),
                      [=, this, thread = thread] { wait(rank, thread); });
    }
  }

  void kill() {
    trace(scenario_.victim, "dies");
    at(scenario_.victim).dead = true;
    for (const int neighbour : neighbours_of(scenario_.victim, scenario_)) {
      timeline_.after(random_.between(1, scenario_.delay_max), [this, neighbour] {
        at(neighbour).node->lost(
            Status(Code::rank_lost, "rank " + std::to_string(scenario_.victim) + " is gone"));
        pump(neighbour);
      });
    }
  }

  /// Counts the ranks that have only the quiet steps left.
  void note_quiet(int rank) {
    if (scenario_.quiet_blocks.empty()) return;
    if (at(rank).blocks_left() == at(rank).quiet_blocks()) ++quiet_ranks_;
  }

  /// I8: with nothing submitted, nothing is sent.
  void check_rest() {
    for (VirtualRank& rank : ranks_) {
      if (!rank.node->take_messages().empty()) checker_.fail("I8", "a message is sent at rest");
      if (rank.node->pending() != 0) checker_.fail("I6", "an operation is pending at rest");
    }
  }

  const Scenario& scenario_;
  std::ostream* trace_;
  Random random_;
  Checker checker_;
  Report report_;
  std::vector<VirtualRank> ranks_;
  Timeline timeline_;
  std::map<std::pair<int, int>, std::int64_t> arrivals_;
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::vector<std::pair<int, std::uint64_t>>>
      rendezvous_;
  std::map<std::pair<int, std::uint32_t>, std::uint64_t> launched_;
  Decoder decoder_;
  int quiet_ranks_ = 0;
  bool delivering_ = false;
};

}  // namespace

Report run(const Scenario& scenario, std::ostream* trace) {
  return Simulation(scenario, trace).run();
}

}  // namespace ringleader::sim
