// SPDX-License-Identifier: Apache-2.0
#include "network.h"

#include "../support/catch.h"

using namespace ringleader;
using namespace ringleader::protocol;

TEST_CASE("nothing is launched before every rank has submitted") {
  Network network(3);
  network.submit(0, allreduce_of("x"));
  network.submit(2, allreduce_of("x"));
  network.settle();
  for (const auto& launches : network.launches) CHECK(launches.empty());
  const Token last = network.submit(1, allreduce_of("x"));
  network.settle();
  for (const auto& launches : network.launches) REQUIRE(launches.size() == 1);
  CHECK(network.status(1, last).ok());
}

TEST_CASE("a name travels once and is a bit afterwards") {
  Network network(2);
  const auto bytes_of_announcement = [&] {
    network.submit(1, allreduce_of("a name of some length that is not sent twice"));
    const auto messages = network[1].take_messages();
    REQUIRE(messages.size() == 1);
    REQUIRE(network[0].receive(1, messages[0].bytes).ok());
    network.submit(0, allreduce_of("a name of some length that is not sent twice"));
    network.settle();
    return messages[0].bytes->size();
  };
  CHECK(bytes_of_announcement() > 44);
  CHECK(bytes_of_announcement() < 32);
}

TEST_CASE("the root receives one message per child and round, whatever the number of ranks") {
  Network network(73, 8);  // 1 + 8 + 64
  for (int rank = 0; rank < network.size(); ++rank) network.submit(rank, allreduce_of("x"));
  network.settle();
  CHECK(network.messages == 2 * 72);
}

TEST_CASE("operations that become ready together are fused up to the limit") {
  Network network(2, 8, 64);
  for (int rank = 0; rank < 2; ++rank) {
    for (const char* name : {"a", "b", "c", "d", "e"})
      network.submit(rank, allreduce_of(name, {8}));
  }
  network.settle();
  REQUIRE(network.launches[0].size() == 3);  // 32 bytes each, two fit
  CHECK(network.launches[0][0].items.size() == 2);
  CHECK(network.launches[0][2].items.size() == 1);
  CHECK(network.launches[1].size() == 3);
}

TEST_CASE("a tensor larger than the limit travels alone") {
  Network network(1, 8, 64);
  network.submit(0, allreduce_of("small", {4}));
  network.submit(0, allreduce_of("large", {1000}));
  network.submit(0, allreduce_of("tiny", {1}));
  network.settle();
  REQUIRE(network.launches[0].size() == 2);
  CHECK(network.launches[0][0].items.size() == 2);
}

TEST_CASE("ranks that disagree get the same error with the ranks and the values") {
  Network network(4, 2);
  std::vector<Token> tokens;
  for (int rank = 0; rank < 4; ++rank) {
    tokens.push_back(network.submit(rank, allreduce_of("w", {rank == 3 ? 5 : 4})));
  }
  network.settle();
  for (int rank = 0; rank < 4; ++rank) {
    const Status status = network.status(rank, tokens[static_cast<std::size_t>(rank)]);
    CHECK(status.code() == Code::mismatch);
    CHECK(status == network.status(0, tokens[0]));
    CHECK(network.launches[static_cast<std::size_t>(rank)].empty());
  }
  const std::string text = network.status(0, tokens[0]).message();
  for (const char* part : {"allreduce 'w'", "shape", "[4]", "rank 3 has [5]"}) {
    CHECK(text.find(part) != std::string::npos);
  }
}

TEST_CASE("after a mismatch the same name works") {
  Network network(2);
  for (const int extent : {1, 0}) {
    const Token a = network.submit(0, allreduce_of("w", {4}));
    const Token b = network.submit(1, allreduce_of("w", {4 + extent}));
    network.settle();
    CHECK(network.status(0, a).ok() == (extent == 0));
    CHECK(network.status(1, b) == network.status(0, a));
  }
}

TEST_CASE("the same name for two kinds of operation is a mismatch and the runtime lives") {
  Network network(2);
  Request broadcast = allreduce_of("w");
  broadcast.op = Op::broadcast;
  broadcast.root = 0;
  const Token a = network.submit(0, allreduce_of("w"));
  const Token b = network.submit(1, broadcast);
  network.settle();
  CHECK(network.status(0, a).code() == Code::mismatch);
  CHECK(network.status(1, b).message().find("operation") != std::string::npos);
}

TEST_CASE("a name in flight is refused on this rank and the first use still completes") {
  Network network(2);
  const Token first = network.submit(0, allreduce_of("w"));
  const Token second = network.submit(0, allreduce_of("w"));
  CHECK(network.status(0, second).code() == Code::duplicate_name);
  network.submit(1, allreduce_of("w"));
  network.settle();
  CHECK(network.status(0, first).ok());
}

TEST_CASE("a changed shape is negotiated anew under the same name") {
  Network network(2);
  for (const int extent : {4, 9, 9, 4}) {
    const Token a = network.submit(0, allreduce_of("w", {extent}));
    network.submit(1, allreduce_of("w", {extent}));
    network.settle();
    CHECK(network.status(0, a).ok());
    CHECK(network.launches[1].back().items[0].count == extent);
  }
}

TEST_CASE("a full table of names costs bytes, not operations") {
  Network network(2, 8, 1 << 20, 3);
  for (int i = 0; i < 50; ++i) {
    const std::string name = "metric" + std::to_string(i % 7);
    const Token a = network.submit(0, allreduce_of(name));
    network.submit(1, allreduce_of(name));
    network.settle();
    CHECK(network.status(0, a).ok());
  }
  CHECK(network[0].catalog().named_ids() == 3);
  CHECK(network[0].catalog().free_id() <= 5);  // temporary ids are used again
}

TEST_CASE("a group runs when every rank has submitted all of it, and fails as a whole") {
  Network network(2);
  Request group = allreduce_of("g");
  group.tensors = {{"", {2}, DType::f32}, {"", {3}, DType::f64}, {"", {4}, DType::f32}};
  Request other = group;
  other.tensors[2].shape = {5};
  const Token a = network.submit(0, group);
  const Token b = network.submit(1, other);
  network.settle();
  CHECK(network.status(0, a).code() == Code::mismatch);
  CHECK(network.status(1, b).message().find("tensor 2") != std::string::npos);
  CHECK(network.launches[0].empty());

  const Token c = network.submit(0, group);
  network.submit(1, group);
  network.settle();
  CHECK(network.launches[0].size() == 2);  // two element types
  CHECK(network.status(0, c).ok());
}

TEST_CASE("a joined rank takes part with neutral elements and learns who joined last") {
  Network network(3);
  Request join;
  join.kind = RequestKind::join;
  join.name = "join";
  const Token joined = network.submit(1, join);
  const Token a = network.submit(0, allreduce_of("x"));
  network.submit(2, allreduce_of("x"));
  network.settle();
  CHECK(network.status(0, a).ok());
  REQUIRE(network.launches[1].size() == 1);
  CHECK(network.launches[1][0].items[0].token == kNoToken);
  CHECK(network.launches[1][0].items[0].count == 4);
  CHECK(network.launches[0][0].contributors == 2);

  Request gather = allreduce_of("g");
  gather.op = Op::allgather;
  const Token refused = network.submit(0, gather);
  network.submit(2, gather);
  network.settle();
  CHECK(network.status(0, refused).code() == Code::joined);
  CHECK(network.status(0, refused).message().find("rank 1 has joined") != std::string::npos);

  network.submit(2, join);
  network.settle();
  const Token last = network.submit(0, join);
  network.settle();
  CHECK(network.value(1, joined) == 0);
  CHECK(network.value(0, last) == 0);

  const Token after = network.submit(1, allreduce_of("x"));
  network.settle();
  CHECK_FALSE(network.completed(1, after));  // everybody counts again
}

TEST_CASE("process sets have the same id everywhere and run among their members only") {
  Network network(4, 2);
  Request add;
  add.kind = RequestKind::add_process_set;
  add.name = "add";
  add.ranks = {1, 3};
  std::vector<Token> tokens;
  for (int rank = 0; rank < 4; ++rank) tokens.push_back(network.submit(rank, add));
  network.settle();
  for (int rank = 0; rank < 4; ++rank) {
    CHECK(network.value(rank, tokens[static_cast<std::size_t>(rank)]) == 1);
  }
  Request request = allreduce_of("x");
  request.process_set = 1;
  const Token a = network.submit(1, request);
  network.submit(3, request);
  const Token stranger = network.submit(0, request);
  network.settle();
  CHECK(network.status(1, a).ok());
  CHECK(network.status(0, stranger).code() == Code::invalid_argument);
  CHECK(network.launches[0].empty());
  CHECK(network.launches[3].size() == 1);

  Request remove;
  remove.kind = RequestKind::remove_process_set;
  remove.name = "remove";
  remove.target = 1;
  network.submit(1, remove);
  const Token late = network.submit(1, request);  // from another thread, say
  CHECK(network.status(1, late).message().find("is being removed") != std::string::npos);
  for (const int rank : {0, 2, 3}) network.submit(rank, remove);
  network.settle();
  CHECK(network[2].catalog().process_set(1) == nullptr);
  add.ranks = {0, 1, 2};
  Token again = 0;
  for (int rank = 0; rank < 4; ++rank) again = network.submit(rank, add);
  network.settle();
  CHECK(network.value(3, again) == 1);  // the id is used again
}

TEST_CASE("a shutdown ends what is undecided on every rank, and what is decided runs") {
  Network network(3, 1);
  const Token decided = network.submit(0, allreduce_of("x"));
  network.submit(1, allreduce_of("x"));
  network.submit(2, allreduce_of("x"));
  network.settle(false);
  const Token undecided = network.submit(0, allreduce_of("y"));
  network[2].request_shutdown();
  network.settle(false);
  CHECK(network.status(0, undecided).code() == Code::shutdown);
  CHECK(network.status(0, undecided).message().find("rank 2") != std::string::npos);
  CHECK_FALSE(network.completed(0, decided));
  CHECK_FALSE(network[0].drained());
  network[0].finished(network.launches[0][0].id);
  network.settle();
  CHECK(network.status(0, decided).ok());
  CHECK(network[0].drained());
  CHECK(network[0].submit(1000, allreduce_of("z")).code() == Code::shutdown);
}

TEST_CASE("a lost rank ends everything on all ranks that can still be reached") {
  Network network(4, 1);
  const Token a = network.submit(0, allreduce_of("x"));
  const Token b = network.submit(3, allreduce_of("x"));
  network[2].lost(Status(Code::rank_lost, "rank 1 is gone"));
  network[0].lost(Status(Code::rank_lost, "rank 1 is gone"));
  network.settle();
  CHECK(network.status(0, a).code() == Code::rank_lost);
  CHECK(network.status(3, b).code() == Code::rank_lost);
}

TEST_CASE("at rest no message is sent") {
  Network network(5, 2);
  for (int rank = 0; rank < 5; ++rank) network.submit(rank, allreduce_of("x"));
  network.settle();
  network.messages = 0;
  for (int i = 0; i < 100; ++i) network.settle();
  CHECK(network.messages == 0);
}

TEST_CASE("a rank that may not speak is an error") {
  Network network(4, 2);
  const auto payload = [](const Message& message) {
    return std::make_shared<const Bytes>(encode(message));
  };
  const Payload log = payload(LogAppend{0, {JoinedEntry{0, 0}}});
  CHECK(network[3].receive(2, log).code() == Code::bad_message);  // its parent is 1
  CHECK(network[0].receive(3, payload(Announcement())).code() == Code::bad_message);
}

TEST_CASE("a message that a broken peer sends twice, or does not send, is an error") {
  Announcement announcement;
  announcement.farewell = Farewell{1};
  for (const std::uint64_t second : {0, 2}) {
    Network network(3, 2);
    announcement.sequence = 0;
    CHECK(network[0].receive(1, announcement, nullptr).ok());
    Network other(3, 2);
    CHECK(other[0].receive(2, Announcement(), nullptr).ok());
    announcement.sequence = second;
    announcement.farewell.reset();
    CHECK(other[0].receive(2, announcement, nullptr).code() == Code::bad_message);
    CHECK(other[0].failed());
  }
}
