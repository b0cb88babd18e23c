// SPDX-License-Identifier: Apache-2.0
#include "simulation.h"

#include "checker.h"
#include "random.h"

#include <ringleader/core/protocol/node.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <utility>

namespace ringleader::sim {
namespace {

/// More events than any generated scenario needs; a run that reaches it does not terminate.
constexpr std::int64_t kEventsMax = 2'000'000;

struct Event {
  std::int64_t time = 0;
  std::int64_t order = 0;  ///< of scheduling: breaks ties, so that a run replays exactly
  std::function<void()> happen;

  bool operator>(const Event& other) const {
    return std::pair(time, order) > std::pair(other.time, other.order);
  }
};

struct Rank {
  std::unique_ptr<protocol::Node> node;
  std::size_t block = 0;
  std::size_t wish = 0;
  int waiting = 0;  ///< operations of this block that have not completed
  bool dead = false;
  std::map<protocol::Token, int> operations;  ///< token to index in the scenario
  std::map<protocol::Token, Wish> wishes;
  protocol::Token next_token = 1;
  std::map<int, std::uint32_t> process_sets = {{0, 0}};  ///< scenario index to id
  std::map<int, std::uint32_t> plans;
};

class Simulation {
 public:
  explicit Simulation(const Scenario& scenario)
      : scenario_(scenario), random_(scenario.seed ^ 0x5eed), checker_(scenario) {
    for (int rank = 0; rank < scenario.ranks; ++rank) {
      Rank& state = ranks_.emplace_back();
      protocol::NodeOptions options;
      options.rank = rank;
      options.size = scenario.ranks;
      options.radix = scenario.radix;
      options.fusion_bytes_max = scenario.fusion_bytes_max;
      options.names_max = scenario.names_max;
      state.node = std::make_unique<protocol::Node>(options);
      schedule(random_.between(0, scenario.think_max), [this, rank] { think(rank); });
    }
    if (scenario.shutdown_at >= 0) {
      schedule(scenario.shutdown_at, [this] {
        ranks_[victim()].node->request_shutdown();
        pump(scenario_.victim);
      });
    }
    if (scenario.loss_at >= 0) schedule(scenario.loss_at, [this] { kill(); });
  }

  Report run() {
    while (!events_.empty() && checker_.failure().empty()) {
      const Event event = events_.top();
      events_.pop();
      now_ = event.time;
      event.happen();
      if (++report_.events > kEventsMax) checker_.fail("I6", "the run does not end");
    }
    if (checker_.failure().empty()) {
      const bool faults = scenario_.shutdown_at >= 0 || scenario_.loss_at >= 0;
      checker_.finished(faults);
      if (!faults) check_rest();
    }
    report_.failure = checker_.failure();
    report_.virtual_time = now_;
    return report_;
  }

 private:
  std::size_t victim() const { return static_cast<std::size_t>(scenario_.victim); }

  void schedule(std::int64_t delay, std::function<void()> happen) {
    events_.push({now_ + delay, order_++, std::move(happen)});
  }

  /// The rank submits its next wish.
  void think(int rank) {
    Rank& state = ranks_[static_cast<std::size_t>(rank)];
    const auto& program = scenario_.programs[static_cast<std::size_t>(rank)];
    if (state.dead || state.block >= program.size()) return;
    const Block& block = program[state.block];
    if (state.wish < block.size()) {
      submit(rank, block[state.wish++]);
      schedule(random_.between(1, scenario_.think_max), [this, rank] { think(rank); });
    } else if (state.waiting == 0) {
      ++state.block;
      state.wish = 0;
      note_quiet(rank);
      schedule(1, [this, rank] { think(rank); });
    }
  }

  void submit(int rank, const Wish& wish) {
    Rank& state = ranks_[static_cast<std::size_t>(rank)];
    const protocol::Token token = state.next_token++;
    Status status;
    if (wish.plan_parameter) {
      const auto plan = state.plans.find(wish.plan);
      if (plan == state.plans.end()) return;  // registering it failed with the shutdown
      status = state.node->submit_parameter(token, plan->second,
                                            static_cast<std::uint32_t>(*wish.plan_parameter));
    } else {
      protocol::Request request = wish.request;
      const auto set = state.process_sets.find(static_cast<int>(request.process_set));
      if (set == state.process_sets.end()) return;
      request.process_set = set->second;
      status = state.node->submit(token, request);
    }
    if (!status.ok()) {
      if (!state.node->stopped() && state.node->stop_reason().ok() &&
          status.code() != Code::shutdown) {
        checker_.fail("I2", "rank " + std::to_string(rank) + " is refused: " + status.message());
      }
      return;
    }
    state.operations[token] = wish.operation;
    state.wishes[token] = wish;
    ++state.waiting;
    checker_.submitted(rank, wish.operation);
    pump(rank);
  }

  /// Takes what the node wants done.
  void pump(int rank) {
    Rank& state = ranks_[static_cast<std::size_t>(rank)];
    for (protocol::Action& action : state.node->take_actions()) {
      if (auto* launch = std::get_if<protocol::Launch>(&action)) start(rank, *launch);
      if (auto* completion = std::get_if<protocol::Completion>(&action)) finish(rank, *completion);
    }
    for (protocol::OutgoingMessage& message : state.node->take_messages()) {
      send(rank, message.to, std::move(message.bytes));
    }
  }

  void send(int from, int to, protocol::Payload bytes) {
    ++report_.messages;
    if (quiet_ranks_ == scenario_.ranks && scenario_.quiet_plan_steps > 0) {
      checker_.fail("I8", "rank " + std::to_string(from) + " sends in a step of armed plans");
    }
    if (from == 0) {
      const Result<protocol::Message> message = protocol::decode(*bytes);
      const auto* append = std::get_if<protocol::LogAppend>(&*message);
      if (append != nullptr && append->first >= root_log_length_) {
        root_log_length_ = append->first + append->entries.size();
        checker_.log(0, *append);
      }
    }
    std::int64_t& arrival = arrivals_[{from, to}];  // messages of a link keep their order
    arrival = std::max(arrival, now_ + random_.between(1, scenario_.delay_max));
    events_.push({arrival, order_++,
                  [this, from, to, bytes = std::move(bytes)] { deliver(from, to, bytes); }});
  }

  void deliver(int from, int to, const protocol::Payload& bytes) {
    Rank& state = ranks_[static_cast<std::size_t>(to)];
    if (state.dead) return;
    const Result<protocol::Message> message = protocol::decode(*bytes);
    if (message.ok() && !state.node->stopped()) {
      if (const auto* append = std::get_if<protocol::LogAppend>(&*message)) {
        checker_.log(to, *append);
      }
    }
    const Status status = state.node->receive(from, bytes);
    if (!status.ok()) checker_.fail("I9", status.message());
    pump(to);
  }

  /// The data plane: a batch runs when all living members have launched it, and finishes at a
  /// different time on each.
  void start(int rank, const protocol::Launch& launch) {
    ++report_.launches;
    if (launch.replayed) ++report_.replayed;
    Rank& state = ranks_[static_cast<std::size_t>(rank)];
    std::vector<int> operations;
    for (const protocol::LaunchItem& item : launch.items) {
      const auto found = state.operations.find(item.token);
      operations.push_back(found == state.operations.end() ? -1 : found->second);
    }
    checker_.launched(rank, launch, operations);
    auto& meeting = meetings_[{launch.channel, launched_[{rank, launch.channel}]++}];
    meeting.push_back({rank, launch.id});
    if (meeting.size() < state.node->catalog().ranks_of(launch.process_set).size()) return;
    for (const auto& [member, id] : meeting) {
      schedule(random_.between(1, scenario_.delay_max), [this, member = member, id = id] {
        Rank& target = ranks_[static_cast<std::size_t>(member)];
        if (target.dead) return;
        target.node->finished(id);
        pump(member);
      });
    }
  }

  void finish(int rank, const protocol::Completion& completion) {
    Rank& state = ranks_[static_cast<std::size_t>(rank)];
    const auto operation = state.operations.find(completion.token);
    if (operation == state.operations.end()) {
      checker_.fail("I2", "rank " + std::to_string(rank) + " completes an unknown token");
      return;
    }
    const Wish wish = state.wishes[completion.token];
    if (completion.status.ok()) {
      const auto id = static_cast<std::uint32_t>(completion.value);
      if (wish.makes_process_set >= 0) state.process_sets[wish.makes_process_set] = id;
      if (wish.plan >= 0 && !wish.plan_parameter) state.plans[wish.plan] = id;
    }
    checker_.completed(rank, operation->second, completion.status);
    if (--state.waiting == 0) schedule(1, [this, rank] { think(rank); });
  }

  void kill() {
    Rank& state = ranks_[victim()];
    state.dead = true;
    const protocol::Tree tree{scenario_.victim, scenario_.ranks, scenario_.radix};
    std::vector<int> neighbours;
    if (!tree.is_root()) neighbours.push_back(tree.parent());
    for (int i = 0; i < tree.child_count(); ++i) neighbours.push_back(tree.child(i));
    for (const int neighbour : neighbours) {
      schedule(random_.between(1, scenario_.delay_max), [this, neighbour] {
        ranks_[static_cast<std::size_t>(neighbour)].node->lost(
            Status(Code::rank_lost, "rank " + std::to_string(scenario_.victim) + " is gone"));
        pump(neighbour);
      });
    }
  }

  /// Counts the ranks that have only the quiet steps left.
  void note_quiet(int rank) {
    if (scenario_.quiet_plan_steps == 0) return;
    const auto& program = scenario_.programs[static_cast<std::size_t>(rank)];
    const std::size_t left = program.size() - ranks_[static_cast<std::size_t>(rank)].block;
    if (left == quiet_blocks(rank)) ++quiet_ranks_;
  }

  /// Blocks of the rank that belong to the quiet steps: ranks outside all plans have none.
  std::size_t quiet_blocks(int rank) const {
    const auto& program = scenario_.programs[static_cast<std::size_t>(rank)];
    const auto only_parameters = [](const Block& block) {
      return std::all_of(block.begin(), block.end(),
                         [](const Wish& wish) { return wish.plan_parameter.has_value(); });
    };
    const bool member = !program.empty() && only_parameters(program.back());
    return member ? static_cast<std::size_t>(scenario_.quiet_plan_steps) : 0;
  }

  /// I8: with nothing submitted, nothing is sent.
  void check_rest() {
    for (int rank = 0; rank < scenario_.ranks; ++rank) {
      protocol::Node& node = *ranks_[static_cast<std::size_t>(rank)].node;
      if (!node.take_messages().empty()) checker_.fail("I8", "a message is sent at rest");
      if (node.pending() != 0) checker_.fail("I6", "an operation is pending at rest");
    }
  }

  const Scenario& scenario_;
  Random random_;
  Checker checker_;
  Report report_;
  std::vector<Rank> ranks_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::int64_t now_ = 0;
  std::int64_t order_ = 0;
  std::map<std::pair<int, int>, std::int64_t> arrivals_;
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::vector<std::pair<int, std::uint64_t>>>
      meetings_;
  std::map<std::pair<int, std::uint32_t>, std::uint64_t> launched_;
  std::uint64_t root_log_length_ = 0;
  int quiet_ranks_ = 0;
};

}  // namespace

Report run(const Scenario& scenario) { return Simulation(scenario).run(); }

}  // namespace ringleader::sim
