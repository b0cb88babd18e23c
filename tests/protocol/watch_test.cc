// SPDX-License-Identifier: Apache-2.0
//
// Ranks that are late, deadlocks, and what is left of an operation that a reset has ended.
#include "../support/catch.h"
#include "network.h"

#include <string>

using namespace ringleader;
using namespace ringleader::protocol;

namespace {

constexpr Time kSecond = 1'000'000;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Lets time pass in steps of 0.1 s on all ranks but `stopped`, which does not run at all.
struct Clock {
  explicit Clock(Network& all) : network(all) {}

  void pass(Time duration, int stopped = -1) {
    for (const Time end = now + duration; now < end; now += kSecond / 10) {
      for (int rank = 0; rank < network.size(); ++rank) {
        if (rank == stopped) continue;
        network[rank].tick(now, blocked ? network.awaited(rank) : std::vector<Token>());
      }
      network.settle(true, stopped);
    }
  }

  Network& network;
  Time now = kSecond;
  bool blocked = false;
};

NodeOptions options_with(Time grace, Time warning, Time abort) {
  NodeOptions options;
  options.radix = 2;
  options.watch = {grace, warning, abort};
  return options;
}

}  // namespace

TEST_CASE("a rank that is late is warned about once, with what it has not submitted") {
  Network network(5, options_with(kSecond, 10 * kSecond, 0));
  Clock clock(network);
  for (int rank = 0; rank < 4; ++rank) network.submit(rank, allreduce_of("slow"));
  clock.pass(9 * kSecond);
  CHECK(network.notices.empty());
  clock.pass(60 * kSecond);
  REQUIRE(network.notices.size() == 1);
  CHECK(contains(network.notices[0], "10 s (RINGLEADER_STALL_WARNING_S)"));
  CHECK(contains(network.notices[0], "ranks 0-3: wait for allreduce 'slow', 10."));
  CHECK(contains(network.notices[0],
                 "rank 4: has nothing pending; has not submitted allreduce 'slow', "
                 "which ranks 0-3 wait for"));
  const Token last = network.submit(4, allreduce_of("slow"));
  network.settle();
  CHECK(network.status(4, last).ok());
}

TEST_CASE("a warning says how far a rank has come in its plan") {
  Network network(2, options_with(0, 5 * kSecond, 0));
  Clock clock(network);
  Request plan;
  plan.kind = RequestKind::register_plan;
  plan.name = "ringleader/plan/sgd";
  plan.tensors = {{"w", {4}, DType::f32}, {"b", {2}, DType::f32}};
  for (int rank = 0; rank < 2; ++rank) network.submit(rank, plan);
  network.settle();
  for (int step = 0; step < 3; ++step) {
    for (int rank = 0; rank < (step < 2 ? 2 : 1); ++rank) {
      network.submit_parameter(rank, 0, 0);
      network.submit_parameter(rank, 0, 1);
    }
    network.settle(step < 2);
  }
  clock.pass(7 * kSecond);
  REQUIRE(network.notices.size() == 1);
  CHECK(contains(network.notices[0], "rank 0 (at step 3 of 'sgd', batch"));
  CHECK(contains(network.notices[0], "waits for gradient of 'sgd', 'b'"));
  CHECK(contains(network.notices[0], "rank 1 (at step 2 of 'sgd', batch"));
}

TEST_CASE("a rank that is overdue ends the job on all ranks with the same report") {
  Network network(5, options_with(kSecond, 0, 20 * kSecond));
  Clock clock(network);
  std::vector<Token> tokens;
  for (int rank = 0; rank < 4; ++rank) tokens.push_back(network.submit(rank, allreduce_of("slow")));
  clock.pass(19 * kSecond);
  CHECK_FALSE(network[0].failed());
  clock.pass(4 * kSecond);
  for (int rank = 0; rank < 5; ++rank) CHECK(network[rank].failed());
  for (int rank = 0; rank < 4; ++rank) {
    const Status status = network.status(rank, tokens[static_cast<std::size_t>(rank)]);
    CHECK(status.code() == Code::rank_lost);
    CHECK(status == network.status(0, tokens[0]));
    CHECK(contains(status.message(), "rank 4: has nothing pending"));
  }
}

TEST_CASE("a rank that does not run is named, with those that are reached through it") {
  Network network(7, options_with(kSecond, 0, 10 * kSecond));
  Clock clock(network);
  const Token token = network.submit(0, allreduce_of("x"));
  clock.pass(20 * kSecond, 1);
  const Status status = network.status(0, token);
  CHECK(status.code() == Code::rank_lost);
  CHECK(contains(status.message(), "rank 1: no answer"));
  CHECK(contains(status.message(), "through it are reached ranks 3-4"));
  CHECK(network[3].failed());  // told directly, not by way of rank 1
}

TEST_CASE("a rank that stops is named also where it has been asked for long") {
  // With the default grace the root asks again and again, each time with more patience.
  Network network(3, options_with(kSecond, 10 * kSecond, 300 * kSecond));
  Clock clock(network);
  clock.blocked = true;
  const Token token = network.submit(0, allreduce_of("x"));
  network.submit(2, allreduce_of("x"));
  clock.pass(303 * kSecond, 1);
  const Status status = network.status(0, token);
  CHECK(status.code() == Code::rank_lost);
  CHECK(contains(status.message(), "rank 1: no answer"));
  CHECK(contains(status.message(), "RINGLEADER_STALL_ABORT_S"));
  CHECK(network[2].stop_reason() == status);
}

TEST_CASE("time that passed while the whole job was stopped does not count") {
  Network network(2, options_with(kSecond, 10 * kSecond, 20 * kSecond));
  Clock clock(network);
  const Token token = network.submit(0, allreduce_of("x"));
  clock.pass(kSecond);
  clock.now += 1000 * kSecond;
  clock.pass(5 * kSecond);
  CHECK(network.notices.empty());
  CHECK_FALSE(network.completed(0, token));
}

TEST_CASE("nobody is late who has released a plan that others still use") {
  Network network(2, options_with(kSecond, 2 * kSecond, 5 * kSecond));
  Clock clock(network);
  Request plan;
  plan.kind = RequestKind::register_plan;
  plan.name = "ringleader/plan/sgd";
  plan.tensors = {{"w", {4}, DType::f32}};
  for (int rank = 0; rank < 2; ++rank) network.submit(rank, plan);
  network.settle();
  Request release;
  release.kind = RequestKind::release_plan;
  release.name = "ringleader/release_plan/0";
  network.submit(0, release);
  clock.pass(20 * kSecond);
  CHECK(network.notices.empty());
  CHECK_FALSE(network[0].failed());
}

TEST_CASE("without the root each rank gives up by itself") {
  Network network(3, options_with(kSecond, 2 * kSecond, 10 * kSecond));
  Clock clock(network);
  const Token token = network.submit(1, allreduce_of("x"));
  clock.pass(9 * kSecond, 0);
  REQUIRE(network.notices.size() == 1);
  CHECK(contains(network.notices[0], "rank 1 gets no answer from rank 0"));
  clock.pass(10 * kSecond, 0);
  CHECK(network.status(1, token).code() == Code::rank_lost);
  CHECK(contains(network.status(1, token).message(), "waits for allreduce 'x'"));
}

TEST_CASE("a deadlock is proved and ended, and the library goes on") {
  Network network(5, options_with(kSecond, 0, 0));
  Clock clock(network);
  std::vector<Token> tokens;
  for (int rank = 0; rank < 5; ++rank) {
    tokens.push_back(network.submit(rank, allreduce_of(rank == 3 ? "weigth" : "weight")));
  }
  clock.pass(3 * kSecond);
  for (int rank = 0; rank < 5; ++rank) CHECK(network[rank].pending() == 1);  // someone computes
  clock.blocked = true;
  clock.pass(2 * kSecond);
  const Status first = network.status(0, tokens[0]);
  CHECK(first.code() == Code::stalled);
  CHECK(contains(first.message(), "rank 3 submitted 'weigth', ranks 0-2, 4 'weight'"));
  for (int rank = 0; rank < 5; ++rank) {
    CHECK(network.status(rank, tokens[static_cast<std::size_t>(rank)]) == first);
    tokens[static_cast<std::size_t>(rank)] = network.submit(rank, allreduce_of("weight"));
  }
  network.settle();
  CHECK(network.status(3, tokens[3]).ok());
}

TEST_CASE("nothing is asked while no operation is pending, and one question is not repeated") {
  Network network(5, options_with(kSecond, 2 * kSecond, 0));
  Clock clock(network);
  clock.blocked = true;
  clock.pass(10 * kSecond);
  CHECK(network.messages == 0);
  network.submit(2, allreduce_of("x"));
  clock.blocked = false;
  clock.pass(10 * kSecond);
  const int asked = network.messages;
  clock.pass(60 * kSecond);
  CHECK(network.messages == asked);
}

TEST_CASE("what was announced before a reset does not count after it") {
  Network network(3, options_with(kSecond, 0, 0));
  network.submit(0, allreduce_of("a"));
  network.submit(1, allreduce_of("a"));
  network.submit(2, allreduce_of("b"));
  network.settle();
  Time now = 0;
  const auto tick_all = [&] {
    now += kSecond;
    for (int rank = 0; rank < 3; ++rank) network[rank].tick(now, network.awaited(rank));
  };
  tick_all();
  network.settle();
  tick_all();  // alarms, and the inquiry
  network.settle();
  tick_all();  // answers
  for (const int rank : {1, 2}) {
    for (OutgoingMessage& message : network[rank].take_messages()) {
      REQUIRE(network[message.to].receive(rank, message.bytes).ok());
    }
  }
  // Rank 2 answered that it waits, and then submits after all, from a thread that nobody knew of.
  const Token late = network.submit(2, allreduce_of("a"));
  tick_all();  // the root judges, while the announcement is under way
  network.settle();
  CHECK(network.status(2, late).code() == Code::stalled);
  const Token again = network.submit(0, allreduce_of("a"));
  network.submit(1, allreduce_of("a"));
  network.settle();
  CHECK_FALSE(network.completed(0, again));  // rank 2 has not submitted it since
  network.submit(2, allreduce_of("a"));
  network.settle();
  CHECK(network.status(0, again).ok());
}
