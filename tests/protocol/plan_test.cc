// SPDX-License-Identifier: Apache-2.0
#include "network.h"

#include "../support/catch.h"

using namespace ringleader;
using namespace ringleader::protocol;

namespace {

/// A limit of fusion below which no two of three_parameters() share a batch.
constexpr std::int64_t kAlone = 100;

Request plan_of(std::vector<TensorSpec> tensors) {
  Request request;
  request.kind = RequestKind::register_plan;
  request.name = "plan";
  request.tensors = std::move(tensors);
  return request;
}

std::vector<TensorSpec> three_parameters() {
  return {{"a", {10}, DType::f32}, {"b", {20}, DType::f32}, {"c", {30}, DType::f32}};
}

void register_everywhere(Network& network) {
  for (int rank = 0; rank < network.size(); ++rank) {
    network.submit(rank, plan_of(three_parameters()));
  }
  network.settle();
}

void step(Network& network, const std::vector<std::uint32_t>& order) {
  for (const std::uint32_t index : order) {
    for (int rank = 0; rank < network.size(); ++rank) network.submit_parameter(rank, 0, index);
    network.settle();
  }
}

}  // namespace

TEST_CASE("ranks that disagree about a plan learn the first difference") {
  Network network(3, 8, kAlone);
  auto other = three_parameters();
  other[1].shape = {21};
  const Token a = network.submit(0, plan_of(three_parameters()));
  network.submit(1, plan_of(other));
  network.submit(2, plan_of(three_parameters()));
  network.settle();
  const Status status = network.status(0, a);
  CHECK(status.code() == Code::mismatch);
  for (const char* part : {"parameter 1", "'b' f32 [20]", "rank 1 has 'b' f32 [21]"}) {
    CHECK(status.message().find(part) != std::string::npos);
  }
}

TEST_CASE("plans of different length name both lengths") {
  Network network(2, 8, kAlone);
  auto fewer = three_parameters();
  fewer.pop_back();
  const Token a = network.submit(0, plan_of(three_parameters()));
  network.submit(1, plan_of(fewer));
  network.settle();
  CHECK(network.status(0, a).message().find("rank 0 has 3, rank 1 has 2") != std::string::npos);
}

TEST_CASE("after the first step a plan needs no message") {
  Network network(9, 2, kAlone);
  register_everywhere(network);
  step(network, {2, 1, 0});
  const auto first = network.launches[0];
  REQUIRE(first.size() == 3);
  network.messages = 0;
  for (int i = 0; i < 10; ++i) step(network, {2, 1, 0});
  CHECK(network.messages == 0);
  REQUIRE(network.launches[8].size() == 33);
  for (std::size_t i = 3; i < 33; ++i) {
    CHECK(network.launches[8][i].replayed);
    CHECK(network.launches[8][i].items[0].count == first[i % 3].items[0].count);
  }
}

TEST_CASE("an armed plan keeps its order whatever the order of readiness") {
  Network network(2, 8, kAlone);
  register_everywhere(network);
  step(network, {2, 1, 0});
  network.submit_parameter(0, 0, 0);
  network.settle();
  CHECK(network.launches[0].size() == 3);  // it is the turn of parameter 2
  network.submit_parameter(0, 0, 1);
  network.submit_parameter(0, 0, 2);
  network.settle();
  REQUIRE(network.launches[0].size() == 6);
  CHECK(network.launches[0][3].items[0].count == 30);
}

TEST_CASE("a parameter cannot be submitted twice in a step") {
  Network network(2, 8, kAlone);
  register_everywhere(network);
  network.submit_parameter(0, 0, 1);
  const Token again = network.submit_parameter(0, 0, 1);
  CHECK(network.status(0, again).code() == Code::duplicate_name);
}

TEST_CASE("a rank that joins in the middle of a replayed step leaves nothing half entered") {
  Network network(3, 1, kAlone);
  register_everywhere(network);
  step(network, {0, 1, 2});
  Request join;
  join.kind = RequestKind::join;
  join.name = "join";
  // Ranks 0 and 1 are ahead by two batches of the second step when rank 2 joins.
  for (const std::uint32_t index : {0U, 1U}) {
    network.submit_parameter(0, 0, index);
    network.submit_parameter(1, 0, index);
  }
  network.settle();
  const Token joined = network.submit(2, join);
  network.settle();
  CHECK(network.launches[2].size() == network.launches[0].size());
  CHECK(network.launches[2].back().items[0].token == kNoToken);
  // The rest of the step is negotiated.
  const Token a = network.submit_parameter(0, 0, 2);
  network.submit_parameter(1, 0, 2);
  network.settle();
  CHECK(network.status(0, a).ok());
  CHECK_FALSE(network.launches[0].back().replayed);
  CHECK(network.launches[0].back().contributors == 2);
  network.submit(0, join);
  network.submit(1, join);
  network.settle();
  CHECK(network.completed(2, joined));
  // All are back: one step is negotiated, then the plan is armed again.
  step(network, {0, 1, 2});
  network.messages = 0;
  step(network, {0, 1, 2});
  CHECK(network.messages == 0);
}

TEST_CASE("gradients that a rank shutting down never gave are an error, not zeros") {
  Network network(2, 8, kAlone);
  register_everywhere(network);
  step(network, {0, 1, 2});
  const Token token = network.submit_parameter(0, 0, 0);  // in flight: rank 1 is needed
  for (Action& action : network[0].take_actions()) {
    if (auto* launch = std::get_if<Launch>(&action)) network.launches[0].push_back(*launch);
  }
  network[1].request_shutdown();
  network.settle(false);
  REQUIRE(network.launches[1].size() == 4);  // it enters the collective, without data
  CHECK(network.launches[1].back().items[0].token == kNoToken);
  network[0].finished(network.launches[0].back().id);
  network[1].finished(network.launches[1].back().id);
  network.settle();
  CHECK(network.status(0, token).code() == Code::shutdown);
  CHECK(network[0].drained());
  CHECK(network[1].drained());
}

TEST_CASE("a negotiated batch of a plan holds its tensors last first, whoever is ready first") {
  Network network(2);
  register_everywhere(network);
  for (int rank = 0; rank < 2; ++rank) {
    for (const std::uint32_t index : {0U, 2U, 1U}) network.submit_parameter(rank, 0, index);
  }
  network.settle();
  for (const auto& launches : network.launches) {
    REQUIRE(launches.size() == 1);
    std::vector<std::uint32_t> parameters;
    for (const LaunchItem& item : launches[0].items) parameters.push_back(item.parameter);
    CHECK(parameters == std::vector<std::uint32_t>{2, 1, 0});
  }
}

TEST_CASE("a released plan gives its ids back") {
  Network network(2, 8, kAlone);
  for (int i = 0; i < 3; ++i) {
    register_everywhere(network);
    step(network, {0, 1, 2});
    Request release;
    release.kind = RequestKind::release_plan;
    release.name = "release";
    release.target = 0;
    network.submit(0, release);
    network.submit(1, release);
    network.settle();
    CHECK(network[1].catalog().plan(0) == nullptr);
  }
  CHECK(network[1].catalog().free_id_range(3) == 0);
}

namespace {

std::vector<std::vector<std::uint32_t>> batches_of(const std::vector<Launch>& launches) {
  std::vector<std::vector<std::uint32_t>> batches;
  for (const Launch& launch : launches) {
    if (!launch.replayed) continue;
    auto& batch = batches.emplace_back();
    for (const LaunchItem& item : launch.items) batch.push_back(item.parameter);
  }
  return batches;
}

/// Arms a plan of five parameters of 40 bytes in a step in which rank 0 announces 4, 2, 0, 3, 1 and
/// the others what `order` says, and runs one more step.
std::vector<std::vector<std::uint32_t>> armed_after(const std::vector<std::uint32_t>& order) {
  Network network(3, 8, 100);
  std::vector<TensorSpec> tensors;
  for (const char* name : {"a", "b", "c", "d", "e"}) {
    tensors.push_back({name, {10}, name[0] == 'c' ? DType::i32 : DType::f32});
  }
  for (int rank = 0; rank < 3; ++rank) network.submit(rank, plan_of(tensors));
  network.settle();
  const std::vector<std::uint32_t> of_the_root{4, 2, 0, 3, 1};
  for (int repeat = 0; repeat < 2; ++repeat) {
    for (std::size_t i = 0; i < order.size(); ++i) {
      network.submit_parameter(0, 0, of_the_root[i]);
      network.submit_parameter(1, 0, order[i]);
      network.submit_parameter(2, 0, order[order.size() - 1 - i]);
      if (order[0] % 2 == 0) network.settle();
    }
    network.settle();
  }
  return batches_of(network.launches[2]);
}

}  // namespace

TEST_CASE("a plan's batches depend on the root's order and on sizes, not on who came when") {
  const std::vector<std::vector<std::uint32_t>> batches = armed_after({0, 1, 2, 3, 4});
  // 4 and 0 fill a batch, 2 is of another type, 3 and 1 follow; by the place of the last of each.
  CHECK(batches == std::vector<std::vector<std::uint32_t>>{{2}, {4, 0}, {3, 1}});
  CHECK(armed_after({3, 1, 4, 0, 2}) == batches);
  CHECK(armed_after({1, 4, 2, 0, 3}) == batches);
}

TEST_CASE("parameters of a plan have verbs and phases of their own") {
  Network network(3);
  std::vector<TensorSpec> tensors{{"gradients", {12}, DType::f32},
                                  {"loss", {1}, DType::f32},
                                  {"parameters", {4}, DType::f32},
                                  {"seed", {1}, DType::f32},
                                  {"late", {1}, DType::f32}};
  tensors[0].op = Op::reduce_scatter;
  tensors[2].op = Op::allgather;
  tensors[3].op = Op::broadcast;
  tensors[3].root = 2;
  tensors[2].phase = tensors[3].phase = 1;
  tensors[4].phase = 2;
  for (int rank = 0; rank < 3; ++rank) network.submit(rank, plan_of(tensors));
  network.settle();
  for (int repeat = 0; repeat < 3; ++repeat) step(network, {1, 0, 3, 2, 4});
  const auto& launches = network.launches[1];
  REQUIRE(launches.size() == 15);  // the two allreduces are of different phases
  const std::vector<Op> ops{Op::allreduce, Op::reduce_scatter, Op::broadcast, Op::allgather,
                            Op::allreduce};
  for (std::size_t i = 0; i < launches.size(); ++i) {
    CHECK(launches[i].replayed == (i >= 5));
    CHECK(launches[i].op == ops[i % 5]);
    CHECK(launches[i].root == (launches[i].op == Op::broadcast ? 2 : -1));
  }
}

TEST_CASE("the verbs of a plan are compared, and those without known sizes refused") {
  Network network(2);
  auto scattered = three_parameters();
  scattered[1].op = Op::reduce_scatter;
  const Token a = network.submit(0, plan_of(three_parameters()));
  network.submit(1, plan_of(scattered));
  network.settle();
  CHECK(network.status(0, a).message().find("rank 1 has 'b' f32 [20] by reduce_scatter") !=
        std::string::npos);
  auto exchanged = three_parameters();
  exchanged[0].op = exchanged[2].op = Op::exchange;
  exchanged[0].to = {1, 0};
  exchanged[2].to = {-1, 0};
  const Token c = network.submit(0, plan_of(exchanged));
  exchanged[2].to = {1, -1};
  network.submit(1, plan_of(exchanged));
  network.settle();
  CHECK(network.status(0, c).message().find("rank 1 has 'c' f32 [30] by exchange to [1, -1]") !=
        std::string::npos);
  exchanged[2].to = {1, 1};
  const Token d = network.submit(0, plan_of(exchanged));
  CHECK(network.status(0, d).code() == Code::invalid_argument);
  scattered[1].op = Op::alltoall;
  const Token b = network.submit(0, plan_of(scattered));
  CHECK(network.status(0, b).code() == Code::invalid_argument);
}

TEST_CASE("no rank joins while a plan needs every rank in every step") {
  Network network(2);
  auto scattered = three_parameters();
  scattered[1].op = Op::reduce_scatter;
  for (int rank = 0; rank < 2; ++rank) network.submit(rank, plan_of(scattered));
  network.settle();
  Request join;
  join.kind = RequestKind::join;
  join.name = "join";
  const Token joined = network.submit(0, join);
  CHECK(network.status(0, joined).code() == Code::invalid_argument);
  CHECK(network.status(0, joined).message().find("plan 'plan'") != std::string::npos);
}

TEST_CASE("a rank joins right after it has released its plans, whatever their verbs") {
  for (const bool scatters : {false, true}) {
    Network network(3, 8, kAlone);
    auto parameters = three_parameters();
    if (scatters) parameters[1].op = Op::reduce_scatter;
    for (int rank = 0; rank < 3; ++rank) network.submit(rank, plan_of(parameters));
    network.settle();
    step(network, {0, 1, 2});
    step(network, {0, 1, 2});
    Request release;
    release.kind = RequestKind::release_plan;
    release.name = "release";
    release.target = 0;
    Request join;
    join.kind = RequestKind::join;
    join.name = "join";
    std::vector<Token> joined;
    for (int rank = 0; rank < 3; ++rank) {
      network.submit(rank, release);
      joined.push_back(network.submit(rank, join));
      network.settle();
    }
    for (int rank = 0; rank < 3; ++rank) {
      CHECK(network.status(rank, joined[static_cast<std::size_t>(rank)]).ok());
      CHECK_FALSE(network[rank].failed());
      CHECK(network[rank].catalog().plan(0) == nullptr);
    }
  }
}

TEST_CASE("a position in a plan that was released meanwhile is stale, not wrong") {
  Network network(2, 8, kAlone);
  register_everywhere(network);
  Announcement late;
  late.applied = network[0].log_length();
  late.sequence = 1;  // after the registration's
  late.positions.push_back({7, 1, 1});
  CHECK(network[0].receive(1, payload_of(late)).ok());
  CHECK_FALSE(network[0].failed());
}

TEST_CASE("a log that plans what cannot be comes from a broken peer") {
  auto tensors = three_parameters();
  tensors[0].op = Op::exchange;
  for (const auto& to : {std::vector<std::int32_t>{1, 1}, {0}, {0, 2}, {-2, 0}}) {
    Network network(2);
    tensors[0].to = to;
    const auto request = std::make_shared<const Request>(plan_of(tensors));
    const Payload bytes = payload_of(LogAppend{0, {PlanEntry{0, 0, request}}});
    CHECK(network[1].receive(0, bytes).code() == Code::bad_message);
  }
}
