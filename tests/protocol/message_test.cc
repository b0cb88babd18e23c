// SPDX-License-Identifier: Apache-2.0
#include "../sim/random.h"
#include "../support/catch.h"
#include "sealed.h"

#include <ringleader/core/protocol/message.h>
#include <ringleader/core/protocol/message_fields.h>
#include <ringleader/core/protocol/node.h>

#include <typeinfo>

using namespace ringleader;
using namespace ringleader::protocol;

namespace {

Request sample_request() {
  Request request;
  request.op = Op::broadcast;
  request.process_set = 3;
  request.name = "layer1.weight";
  request.prescale = 0.25;
  request.root = 2;
  request.tensors = {{"a", {2, 3}, DType::bf16}, {"", {}, DType::i64}};
  request.ranks = {0, 5, 7};
  return request;
}

Announcement sample_announcement() {
  Announcement announcement;
  announcement.applied = 1234567;
  for (const std::uint32_t id : {0U, 63U, 64U, 160U, 70000U}) announcement.ready.insert(id);
  announcement.absences = {{64, {2, 5}}};
  announcement.sequence = 3;
  announcement.named = {{std::make_shared<const Request>(sample_request()),
                         4,
                         "a.cc:7",
                         {1, 9},
                         Conflict{{"shape", "[1]", "[2]"}, 4, 6, "a.cc:7", ""}}};
  announcement.joins = {{0, 3}};
  announcement.leaving = {1, 2};
  announcement.positions = {{1, 10, 12}};
  announcement.farewell = Farewell{7};
  announcement.alarm = Alarm::late;
  DeadlockReport report;
  report.add({{{3, 5}}, true, false, {{0, "x", "allreduce", "a.cc:7"}}, 0, {{1, 2, 3, 4, 5}}, 60},
             17);
  report.add_silent({{6, 6}}, {{7, 8}});
  announcement.report = report;
  return announcement;
}

LogAppend sample_log() {
  LogAppend append;
  append.first = 99;
  append.entries.emplace_back(
      DefineEntry{3, true, std::make_shared<const Request>(sample_request())});
  append.entries.emplace_back(LaunchEntry{1, 2, {{3, 0, 2}, {9, 1, 1}}});
  CompleteEntry complete;
  complete.key.name = "x";
  complete.status = Status(Code::mismatch, "why");
  append.entries.emplace_back(complete);
  append.entries.emplace_back(SetEntry{1, {0, 2}, {0, "s"}});
  append.entries.emplace_back(SetRemovedEntry{1, {0, "s"}});
  append.entries.emplace_back(PlanEntry{0, 10, std::make_shared<const Request>(sample_request())});
  append.entries.emplace_back(PlanReleasedEntry{0, {0, "p"}});
  append.entries.emplace_back(JoinedEntry{0, 4});
  append.entries.emplace_back(ArmEntry{0, {{1, 0}, {2}}});
  append.entries.emplace_back(FreezeEntry{0});
  append.entries.emplace_back(CutEntry{0, 7, 5});
  append.entries.emplace_back(ShutdownEntry{Status(Code::shutdown, "bye")});
  append.entries.emplace_back(InquiryEntry{});
  append.entries.emplace_back(ResetEntry{Status(Code::stalled, "deadlock")});
  return append;
}

/// Converts to a member of any type.
struct Anything {
  template <typename T>
  operator T() const;
};

/// How many members a structure has: as many as it can be made of.
template <typename T, typename... Members>
constexpr std::size_t member_count() {
  if constexpr (requires { T{Members{}..., Anything{}}; }) {
    return member_count<T, Members..., Anything>();
  } else {
    return sizeof...(Members);
  }
}

/// In the place of an encoder.
struct MemberCounter {
  std::size_t count = 0;
  void operator()(const auto& /*member*/) { ++count; }
  void choice(const auto& /*member*/, int /*choices*/) { ++count; }
  void part(const auto& /*member*/) { ++count; }
};

template <typename T>
std::size_t members_sent() {
  MemberCounter counter;
  const T value{};
  visit(counter, value, static_cast<const T*>(nullptr));
  return counter.count;
}

}  // namespace

TEST_CASE("every member of a message's structures travels") {
  const auto check = [](auto value, std::size_t within = 0) {
    using T = decltype(value);
    INFO(typeid(T).name());
    CHECK(members_sent<T>() == member_count<T>() + within);
  };
  check(TensorSpec());
  check(Key());
  check(Conflict(), 2);  // one of its members is three values
  check(Absence());
  check(NamedAnnouncement());
  check(IdAbsence());
  check(JoinAnnouncement());
  check(PositionAnnouncement());
  check(Farewell());
  check(RankRange());
  check(Wait());
  check(PlanPosition());
  check(RankPosition());
  check(DeadlockReport());
  check(Announcement());
  check(BatchItem());
  check(DefineEntry());
  check(LaunchEntry());
  check(CompleteEntry());
  check(SetEntry());
  check(SetRemovedEntry());
  check(PlanEntry());
  check(PlanReleasedEntry());
  check(JoinedEntry());
  check(ArmEntry());
  check(FreezeEntry());
  check(CutEntry());
  check(ShutdownEntry());
  check(InquiryEntry());
  check(ResetEntry());
  check(LogAppend());
  check(Abort());
}

TEST_CASE("a request travels with every member that the ranks compare") {
  const Request sent = sample_request();
  Announcement announcement;
  announcement.named = {{std::make_shared<const Request>(sent), 4, "", {}, std::nullopt}};
  const Result<Message> copy = decode(encode(Message(announcement)));
  REQUIRE(copy.ok());
  const Request& got = *std::get<Announcement>(*copy).named.at(0).request;
  CHECK(got.op == sent.op);
  CHECK(got.process_set == sent.process_set);
  CHECK(got.name == sent.name);
  CHECK(got.prescale == sent.prescale);
  CHECK(got.root == sent.root);
  CHECK(got.tensors == sent.tensors);
  CHECK(got.ranks == sent.ranks);
  CHECK_FALSE(first_disagreement(got, sent));
}

TEST_CASE("a message survives encoding and decoding") {
  for (const Message& message : {Message(sample_announcement()), Message(sample_log()),
                                 Message(Abort{Status(Code::rank_lost, "rank 3 is gone")})}) {
    const Bytes bytes = encode(message);
    const Result<Message> copy = decode(bytes);
    REQUIRE(copy.ok());
    CHECK(encode(*copy) == bytes);
    CHECK(copy->index() == message.index());
  }
}

TEST_CASE("every truncation of a message is an error and not a crash") {
  for (const Message& message : {Message(sample_announcement()), Message(sample_log())}) {
    const Bytes bytes = encode(message);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const Result<Message> result = decode(std::span(bytes).first(size));
      CHECK_FALSE(result.ok());
      CHECK(result.status().code() == Code::bad_message);
    }
  }
}

TEST_CASE("any single altered byte is noticed") {
  const Bytes bytes = encode(Message(sample_announcement()));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const int change : {1, 0x80, 0xff}) {
      Bytes altered = bytes;
      altered[i] ^= static_cast<std::byte>(change);
      CHECK(decode(altered).status().code() == Code::bad_message);
    }
  }
}

TEST_CASE("random and altered bytes never crash the decoder or a node") {
  sim::Random random(7);
  const Bytes templates[] = {encode(Message(sample_announcement())), encode(Message(sample_log()))};
  for (int i = 0; i < 20000; ++i) {
    Bytes bytes = templates[i % 2];
    if (i % 3 == 0) bytes.assign(static_cast<std::size_t>(random.between(0, 60)), std::byte{0});
    for (int changes = random.between(1, 8); changes > 0 && !bytes.empty(); --changes) {
      bytes[random.next() % bytes.size()] = static_cast<std::byte>(random.next());
    }
    if (i % 2 == 0) bytes = resealed(std::move(bytes));  // damage that the seal does not tell
    (void)decode(bytes).ok();
    NodeOptions options;
    options.rank = i % 3;
    options.size = 9;
    options.radix = 2;
    Node node(options);
    // Whatever it makes of the bytes, it must survive and still take a request.
    (void)node.receive(random.between(0, 8), std::make_shared<const Bytes>(bytes)).ok();
    (void)node.take_messages();
    (void)node.take_actions();
  }
}

TEST_CASE("a length that the bytes cannot fill is refused before memory is allocated") {
  Writer writer;
  writer.u64(2);  // an abort
  writer.u64(static_cast<std::uint64_t>(Code::rank_lost));
  writer.u64(std::uint64_t{1} << 60);  // the length of its text
  writer.seal();
  CHECK_FALSE(decode(writer.take()).ok());
}

TEST_CASE("an announcement of many ids is a bit set") {
  Announcement announcement;
  for (std::uint32_t id = 0; id < 161; ++id) announcement.ready.insert(id);
  CHECK(encode(Message(announcement)).size() < 56);  // 161 ids take 3 words
}
