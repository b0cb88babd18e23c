// SPDX-License-Identifier: Apache-2.0
//
// What the ranks must agree on, process sets and joining, on 1 to 4 ranks under mpirun.
#include "../support/catch.h"
#include "outcome.h"

#include <ringleader/ringleader.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

using namespace ringleader;
using ringleader::test::outcome_of;

TEST_CASE("disagreements name tensor, ranks and values on every rank, and the next one works") {
  if (size() == 1) return;
  const int odd = size() - 1;
  std::vector<float> four(4, 1.f);
  std::vector<float> five(5, 1.f);
  std::vector<double> wide(4, 1.0);
  const auto check = [&](const Status& status, const std::vector<std::string>& parts) {
    CHECK(status.code() == Code::mismatch);
    INFO(status.message());
    for (const std::string& part : parts) CHECK(status.message().find(part) != std::string::npos);
  };
  const std::string last = "rank " + std::to_string(odd) + " has ";
  check(outcome_of([&] { allreduce("w", rank() == odd ? five : four, ReduceOp::sum); }),
        {"allreduce 'w'", "shape", "[4]", last + "[5]"});
  check(outcome_of([&] {
          if (rank() == odd) return allreduce("w", wide, ReduceOp::sum);
          allreduce("w", four, ReduceOp::sum);
        }),
        {"element type", "f32", last + "f64"});
  check(outcome_of([&] { allreduce("w", four, rank() == odd ? ReduceOp::max : ReduceOp::sum); }),
        {"reduction", last + "max"});
  check(outcome_of([&] { broadcast("w", four, rank() == odd ? 1 : 0); }), {"root", last + "1"});
  check(outcome_of([&] {
          if (rank() == odd) return broadcast("w", four, 0);
          allreduce("w", four, ReduceOp::sum);
        }),
        {"operation", last + "broadcast"});
  CHECK(four == std::vector<float>(4, 1.f));
  allreduce("w", four, ReduceOp::sum);
  CHECK(four[0] == static_cast<float>(size()));
}

TEST_CASE("a name in flight is refused at once and the first use completes when the others come") {
  if (size() == 1) return;  // nothing stays in flight
  std::vector<float> a(1, 1.f);
  std::vector<float> b(1, 1.f);
  // The other ranks come after the second use of rank 0.
  if (rank() > 0) barrier();
  const Handle first = allreduce_async("twice", a, ReduceOp::sum);
  if (rank() == 0) {
    const Status second = allreduce_async("twice", b, ReduceOp::sum).status();
    CHECK(second.code() == Code::duplicate_name);
    CHECK(second.message().find("'twice'") != std::string::npos);
    CHECK(!first.ready());
    barrier();
  }
  first.wait();
  CHECK(a[0] == static_cast<float>(size()));
}

TEST_CASE("arguments that are wrong on this rank alone are refused at once") {
  std::vector<float> x(4);
  std::vector<float> y(5);
  CHECK(outcome_of([&] { allreduce("", x); }).code() == Code::invalid_argument);
  CHECK(outcome_of([&] { allreduce("ringleader/x", x); }).code() == Code::invalid_argument);
  CHECK(outcome_of([&] { allreduce("x", x, TensorView(y)); }).code() == Code::invalid_argument);
  CHECK(outcome_of([&] {
          allreduce("x", TensorView(x.data(), {2}), TensorView(x.data() + 1, {2}));
        }).code() == Code::invalid_argument);
  CHECK(outcome_of([&] { allreduce("x", TensorView(x.data(), {-1})); }).code() ==
        Code::invalid_argument);
  float scalar = 1.f;
  CHECK(outcome_of([&] { allgather("x", TensorView(&scalar, {})); }).code() ==
        Code::invalid_argument);
  CHECK(outcome_of([&] { allreduce("x", TensorView(&scalar, {}, Device::cuda)); }).code() ==
        Code::unsupported);
  CHECK(outcome_of([&] { grouped_allreduce("x", {}); }).code() == Code::invalid_argument);
}

TEST_CASE("several threads submit and wait at the same time") {
  std::vector<std::thread> threads;
  std::vector<int> wrong(4, 0);
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([t, &wrong] {
      for (int i = 0; i < 100; ++i) {
        std::vector<float> x(10, 1.f);
        allreduce("thread" + std::to_string(t), x, ReduceOp::sum);
        if (x[9] != static_cast<float>(size())) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4, 0));
}

TEST_CASE("process sets run among their members") {
  std::vector<int> even;
  for (int r = 0; r < size(); r += 2) even.push_back(r);
  const ProcessSet set = add_process_set(even);
  CHECK(set.ranks() == even);
  CHECK(set.includes(0));
  CHECK(set.rank() == (rank() % 2 == 0 ? rank() / 2 : -1));
  std::vector<float> x(3, 1.f);
  ReduceOptions options;
  options.process_set = set;
  if (rank() % 2 == 0) {
    allreduce("set", x, ReduceOp::sum, options);
    CHECK(x[0] == static_cast<float>(even.size()));
    broadcast("set", x, even.back(), set);
    CHECK(allgather("set", x, set).view().count() == 3 * set.size());
    barrier(set);
  } else {
    const Status status = outcome_of([&] { allreduce("set", x, ReduceOp::sum, options); });
    CHECK(status.code() == Code::invalid_argument);
  }
  barrier();
  remove_process_set(set);
  CHECK(outcome_of([&] { (void)set.ranks(); }).code() == Code::invalid_argument);
  CHECK(outcome_of([&] { add_process_set({0, 0}); }).code() == Code::invalid_argument);
  CHECK(outcome_of([&] { remove_process_set({}); }).code() == Code::invalid_argument);
}

TEST_CASE("a joined rank contributes neutral elements") {
  if (size() == 1) return;
  if (rank() > 0) {
    const auto others = static_cast<float>(size() - 1);
    std::vector<float> value(2, 6.f);
    allreduce("with joined", value, ReduceOp::average);
    CHECK(value[0] == 6.f * others / static_cast<float>(size()));
    value = {6.f, 6.f};
    ReduceOptions options;
    options.average_over_contributors = true;
    allreduce("with joined", value, ReduceOp::average, options);
    CHECK(value[1] == 6.f);
    for (const ReduceOp op : {ReduceOp::min, ReduceOp::max}) {
      std::vector<std::int32_t> integer = {-6};
      allreduce("extreme", integer, op);
      CHECK(integer[0] == -6);
    }
    std::vector<double> product = {2.0};
    allreduce("product", product, ReduceOp::product);
    CHECK(product[0] == static_cast<double>(1 << (size() - 1)));
    const Status status = outcome_of([&] { allgather("gather", value); });
    CHECK(status.code() == Code::joined);
    CHECK(status.message().find("rank 0 has joined") != std::string::npos);
    barrier();
  }
  const int last = join();
  CHECK(last != 0);
  std::vector<std::int32_t> lasts =
      allgather("lasts", std::vector<std::int32_t>{last}).to_vector<std::int32_t>();
  CHECK(std::count(lasts.begin(), lasts.end(), last) == size());
}

TEST_CASE("broadcast_object copies bytes of any length") {
  for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{100000}}) {
    std::vector<std::byte> bytes(rank() == 0 ? length : 7, std::byte(rank() + 1));
    CHECK(broadcast_object("object", bytes, 0) == std::vector<std::byte>(length, std::byte{1}));
  }
}
