// SPDX-License-Identifier: Apache-2.0
//
// All interleavings of small programs: every order in which ranks can submit, messages can arrive
// and batches can finish. What a rank does depends only on the sequence of what happens to it, so
// two interleavings in which every rank sees the same sequence are one state (Mazurkiewicz 1977),
// and each state is visited once, by replaying a way to it. Rank 0
// submits in the order of the operations' numbers, which is no restriction: the numbers could be
// chosen so.
#include "../support/catch.h"

#include <ringleader/core/protocol/node.h>

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

using namespace ringleader;
using namespace ringleader::protocol;

namespace {

/// One thing that can happen: rank `at` submits its operation `what`, receives the next message
/// from rank `what`, or finishes its oldest batch.
struct Event {
  enum class Kind : char { submit = 's', receive = 'r', finish = 'f' };
  Kind kind = Kind::submit;
  int at = 0;
  int what = 0;
};

struct Program {
  int ranks = 2;
  int radix = 2;
  int operations = 2;
  int mismatched = -1;  ///< the operation about which the last rank disagrees
};

Request request_of(const Program& program, int rank, int operation) {
  Request request;
  request.name = "operation" + std::to_string(operation);
  const bool differs = operation == program.mismatched && rank == program.ranks - 1;
  request.tensors = {{"", {differs ? 5 : 4}, DType::f32}};
  return request;
}

/// The world after a sequence of events.
class World {
 public:
  explicit World(const Program& program) : program_(program) {
    for (int rank = 0; rank < program.ranks; ++rank) {
      NodeOptions options;
      options.rank = rank;
      options.size = program.ranks;
      options.radix = program.radix;
      nodes_.push_back(std::make_unique<Node>(options));
    }
    submitted_.resize(nodes_.size());
    tokens_.resize(nodes_.size());
    outcomes.resize(nodes_.size());
    launched.resize(nodes_.size());
    running_.resize(nodes_.size());
    history_.resize(nodes_.size());
  }

  void happen(const Event& event) {
    const auto at = static_cast<std::size_t>(event.at);
    Node& node = *nodes_[at];
    history_[at] +=
        std::string{static_cast<char>(event.kind)} + static_cast<char>('0' + event.what);
    switch (event.kind) {
      case Event::Kind::submit:
        submitted_[at] |= 1U << event.what;
        tokens_[at].push_back(event.what);
        expect(node.submit(tokens_[at].size(), request_of(program_, event.at, event.what)).ok(),
               "a submission is refused");
        break;
      case Event::Kind::receive: {
        auto& link = links_[{event.what, event.at}];
        const Payload bytes = link.front();
        link.pop_front();
        expect(node.receive(event.what, bytes).ok(), "a message is refused");
        break;
      }
      case Event::Kind::finish: {
        const std::uint64_t id = running_[at].front();
        running_[at].pop_front();
        node.finished(id);
      }
    }
    pump(event.at);
  }

  std::vector<Event> enabled() const {
    std::vector<Event> events;
    for (int rank = 0; rank < program_.ranks; ++rank) {
      const auto at = static_cast<std::size_t>(rank);
      for (int operation = 0; operation < program_.operations; ++operation) {
        const bool done = ((submitted_[at] >> operation) & 1U) != 0;
        if (done) continue;
        events.push_back({Event::Kind::submit, rank, operation});
        if (rank == 0) break;
      }
      if (can_finish(at)) events.push_back({Event::Kind::finish, rank, 0});
    }
    for (const auto& [link, messages] : links_) {
      if (!messages.empty()) events.push_back({Event::Kind::receive, link.second, link.first});
    }
    return events;
  }

  std::string state() const {
    std::string all;
    for (const std::string& own : history_) all += own + "|";
    return all;
  }

  std::string state_after(const Event& event) {
    std::string& own = history_[static_cast<std::size_t>(event.at)];
    own += step(event);
    std::string all = state();
    own.resize(own.size() - step(event).size());
    return all;
  }

  void expect(bool holds, const char* what) {
    if (!holds && failure.empty()) failure = what;
  }

  std::string failure;
  std::vector<std::map<int, Status>> outcomes;          ///< per rank
  std::vector<std::vector<std::vector<int>>> launched;  ///< per rank: the batches, in order

 private:
  static std::string step(const Event& event) {
    return {static_cast<char>(event.kind), static_cast<char>('0' + event.what)};
  }

  /// A batch can finish when all ranks have launched it.
  bool can_finish(std::size_t at) const {
    if (running_[at].empty()) return false;
    const std::size_t position = launched[at].size() - running_[at].size();
    for (const auto& batches : launched) {
      if (batches.size() <= position) return false;
    }
    return true;
  }

  int operation_of(std::size_t rank, Token token) const { return tokens_[rank][token - 1]; }

  void pump(int rank) {
    const auto at = static_cast<std::size_t>(rank);
    for (Action& action : nodes_[at]->take_actions()) {
      if (auto* launch = std::get_if<Launch>(&action)) {
        std::vector<int> batch;
        for (const LaunchItem& item : launch->items) batch.push_back(operation_of(at, item.token));
        launched[at].push_back(batch);
        running_[at].push_back(launch->id);
      } else if (auto* completion = std::get_if<Completion>(&action)) {
        expect(outcomes[at].emplace(operation_of(at, completion->token), completion->status).second,
               "an operation completes twice");
      }
    }
    for (OutgoingMessage& message : nodes_[at]->take_messages()) {
      links_[{rank, message.to}].push_back(std::move(message.bytes));
    }
  }

  Program program_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<unsigned> submitted_;       ///< per rank: bit per operation
  std::vector<std::vector<int>> tokens_;  ///< per rank: the operation of token i + 1
  std::vector<std::deque<std::uint64_t>> running_;
  std::map<std::pair<int, int>, std::deque<Payload>> links_;
  std::vector<std::string> history_;
};

/// What holds in every state, and what holds when nothing is left to happen.
void check(const Program& program, World& world, bool at_the_end) {
  for (std::size_t rank = 1; rank < world.launched.size(); ++rank) {
    const auto& mine = world.launched[rank];
    const auto& others = world.launched[0];
    for (std::size_t i = 0; i < std::min(mine.size(), others.size()); ++i) {
      world.expect(mine[i] == others[i], "I1: another batch");
    }
  }
  for (const auto& outcomes : world.outcomes) {
    for (const auto& [operation, status] : outcomes) {
      const bool wrong = operation == program.mismatched;
      world.expect(status.code() == (wrong ? Code::mismatch : Code::ok), "I4: another outcome");
    }
    const bool all = static_cast<int>(outcomes.size()) == program.operations;
    world.expect(!at_the_end || all, "I6: an operation never completes");
  }
}

#ifdef RINGLEADER_SANITIZED  // where a state takes ten times as long
constexpr int kOperations = 2;
#else
constexpr int kOperations = 3;
#endif

struct Explored {
  std::size_t states = 0;
  std::size_t ends = 0;
};

Explored explore(const Program& program) {
  Explored explored;
  std::unordered_set<std::string> seen;
  std::vector<std::vector<Event>> stack = {{}};
  while (!stack.empty()) {
    const std::vector<Event> path = std::move(stack.back());
    stack.pop_back();
    World world(program);
    for (const Event& event : path) world.happen(event);
    ++explored.states;
    const std::vector<Event> next = world.enabled();
    check(program, world, next.empty());
    INFO("after " << world.state());
    REQUIRE(world.failure == "");
    if (next.empty()) ++explored.ends;
    for (const Event& event : next) {
      if (!seen.insert(world.state_after(event)).second) continue;
      stack.push_back(path);
      stack.back().push_back(event);
    }
  }
  return explored;
}

}  // namespace

TEST_CASE("all interleavings of 2 ranks and 3 operations") {
  for (const int mismatched : {-1, 0, kOperations - 1}) {
    const Explored explored = explore({2, 2, kOperations, mismatched});
    UNSCOPED_INFO(explored.states << " states, " << explored.ends << " ends");
    CHECK(explored.states > 200);
    CHECK(explored.ends > 10);
  }
}

TEST_CASE("all interleavings of 3 ranks and 2 operations, in a tree and in a chain") {
  for (const int radix : {2, 1}) {
    for (const int mismatched : {-1, 0, 1}) {
      const Explored explored = explore({3, radix, 2, mismatched});
      UNSCOPED_INFO(explored.states << " states, " << explored.ends << " ends");
      CHECK(explored.states > 200);
      CHECK(explored.ends > 10);
    }
  }
}
