// SPDX-License-Identifier: Apache-2.0
//
// The public collectives, on 1 to 4 ranks under mpirun.
#include "../support/catch.h"

#include <ringleader/ringleader.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

using namespace ringleader;

namespace {

/// The error that an operation ends with, or an ok Status.
template <typename Run>
Status outcome_of(Run run) {
  try {
    run();
  } catch (const Error& error) {
    return error.status();
  }
  return Status();
}

float sum_of_ranks() { return static_cast<float>(size() * (size() - 1)) / 2; }

}  // namespace

TEST_CASE("allreduce in place and out of place") {
  std::vector<float> input(100, static_cast<float>(rank()));
  std::vector<float> output(100);
  allreduce("x", input, TensorView(output), ReduceOp::sum);
  CHECK(output == std::vector<float>(100, sum_of_ranks()));
  CHECK(input == std::vector<float>(100, static_cast<float>(rank())));
  allreduce("x", input, ReduceOp::max);
  CHECK(input[99] == static_cast<float>(size() - 1));
}

TEST_CASE("average is the default, and integers average exactly") {
  std::vector<std::int32_t> ones(3, 1);
  allreduce("ones", ones);
  CHECK(ones == std::vector<std::int32_t>(3, 1));
}

TEST_CASE("prescale and postscale") {
  std::vector<double> value = {1.0};
  ReduceOptions options;
  options.prescale = 0.5;
  options.postscale = 3.0;
  allreduce("scaled", value, ReduceOp::sum, options);
  CHECK(value[0] == 1.5 * size());
  const Status status = outcome_of([&] { allreduce("scaled", value, ReduceOp::product, options); });
  CHECK(status.code() == Code::invalid_argument);
}

TEST_CASE("many operations in flight at once") {
  std::vector<std::vector<float>> tensors;
  std::vector<Handle> handles;
  for (int i = 0; i < 50; ++i) {
    tensors.emplace_back(static_cast<std::size_t>(1 + i * 37), static_cast<float>(rank() + i));
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    handles.push_back(allreduce_async("t" + std::to_string(i), tensors[i], ReduceOp::sum));
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    handles[i].wait();
    CHECK(handles[i].ready());
    CHECK(tensors[i].back() == sum_of_ranks() + static_cast<float>(size()) * static_cast<float>(i));
  }
}

TEST_CASE("a group of mixed element types is reduced as one operation") {
  std::vector<float> a(10, 1.f);
  std::vector<double> b(20, 2.0);
  std::vector<Float16> c(30, Float16(0.5f));
  grouped_allreduce("group", {a, b, c}, ReduceOp::sum);
  CHECK(a[9] == static_cast<float>(size()));
  CHECK(b[19] == 2.0 * size());
  CHECK(static_cast<float>(c[29]) == 0.5f * static_cast<float>(size()));
}

TEST_CASE("a group that one rank submits differently fails as a whole and changes nothing") {
  if (size() == 1) return;
  std::vector<float> a(4, 1.f);
  std::vector<float> b(rank() == 1 ? 6 : 5, 1.f);
  const Status status = outcome_of([&] {
    grouped_allreduce("uneven group", {a, b}, ReduceOp::sum);
  });
  CHECK(status.code() == Code::mismatch);
  CHECK(status.message().find("tensor 1") != std::string::npos);
  CHECK(a == std::vector<float>(4, 1.f));
}

TEST_CASE("allgather of a different number of rows per rank") {
  std::vector<std::int32_t> input(static_cast<std::size_t>(2 * rank()), rank());
  const Output all = allgather("gather", TensorView(input.data(), {rank(), 2}));
  std::vector<std::int32_t> expected;
  std::vector<std::int64_t> rows;
  for (int r = 0; r < size(); ++r) {
    expected.insert(expected.end(), static_cast<std::size_t>(2 * r), r);
    rows.push_back(r);
  }
  CHECK(all.view().shape() == Shape{std::accumulate(rows.begin(), rows.end(), std::int64_t{0}), 2});
  CHECK(all.rows() == rows);
  CHECK(all.to_vector<std::int32_t>() == expected);
  CHECK(outcome_of([&] { (void)all.to_vector<float>(); }).code() == Code::invalid_argument);
}

TEST_CASE("broadcast from every root, in place and out of place") {
  for (int root = 0; root < size(); ++root) {
    std::vector<std::int64_t> input(5, rank());
    std::vector<std::int64_t> output(5, -1);
    broadcast("b", input, TensorView(output), root);
    CHECK(output == std::vector<std::int64_t>(5, root));
    CHECK(input[0] == rank());
    broadcast("b", input, root);
    CHECK(input[4] == root);
  }
  std::vector<float> x(1);
  CHECK(outcome_of([&] { broadcast("b", x, size()); }).code() == Code::invalid_argument);
}

TEST_CASE("reduce_scatter gives the first ranks the rows that remain") {
  const std::int64_t rows = 2 * size() + 1;
  std::vector<float> input(static_cast<std::size_t>(3 * rows));
  for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<float>(i);
  const Output mine = reduce_scatter("rs", TensorView(input.data(), {rows, 3}), ReduceOp::sum);
  const std::int64_t own = rank() == 0 ? 3 : 2;
  const std::int64_t first = rank() == 0 ? 0 : 2 * rank() + 1;
  REQUIRE(mine.view().shape() == Shape{own, 3});
  CHECK(mine.to_vector<float>()[0] == static_cast<float>(3 * first * size()));
}

TEST_CASE("alltoall with splits, with equal parts, and with nothing") {
  // Rank r sends r + to rows to rank `to`.
  std::vector<std::int64_t> splits;
  std::vector<std::int32_t> input;
  for (int to = 0; to < size(); ++to) {
    splits.push_back(rank() + to);
    input.insert(input.end(), static_cast<std::size_t>(rank() + to), 10 * rank() + to);
  }
  const Output received = alltoall("a2a", input, splits);
  std::vector<std::int32_t> expected;
  for (int from = 0; from < size(); ++from) {
    expected.insert(expected.end(), static_cast<std::size_t>(from + rank()), 10 * from + rank());
  }
  CHECK(received.to_vector<std::int32_t>() == expected);
  CHECK(received.rows() == [&] {
    std::vector<std::int64_t> rows;
    for (int from = 0; from < size(); ++from) rows.push_back(from + rank());
    return rows;
  }());

  std::vector<std::int32_t> even(static_cast<std::size_t>(2 * size()), rank());
  CHECK(alltoall("even", even).rows() ==
        std::vector<std::int64_t>(static_cast<std::size_t>(size()), 2));
  std::vector<std::int32_t> none;
  CHECK(alltoall("none", none).view().count() == 0);
  const std::vector<std::int64_t> too_many(static_cast<std::size_t>(size()), 3);
  CHECK(outcome_of([&] { alltoall("even", even, too_many); }).code() == Code::invalid_argument);
}

TEST_CASE("allgathers and allreduces may be in flight together") {
  std::vector<Handle> handles;
  std::vector<std::vector<float>> tensors(20, std::vector<float>(1000, 1.f));
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::string name = "mixed" + std::to_string(i);
    handles.push_back(i % 3 == 0 ? allgather_async(name, tensors[i])
                                 : allreduce_async(name, tensors[i], ReduceOp::sum));
  }
  for (std::size_t i = 0; i < handles.size(); ++i) {
    handles[i].wait();
    if (i % 3 == 0) CHECK(handles[i].output().view().count() == 1000 * size());
    if (i % 3 != 0) CHECK(tensors[i][999] == static_cast<float>(size()));
  }
}

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

TEST_CASE("a name in flight is refused and the first use completes") {
  std::vector<float> a(1, 1.f);
  std::vector<float> b(1, 1.f);
  const Handle first = allreduce_async("twice", a, ReduceOp::sum);
  const Status second = allreduce_async("twice", b, ReduceOp::sum).status();
  first.wait();
  CHECK(a[0] == static_cast<float>(size()));
  // On a fast world the first may be over before the second is submitted.
  CHECK((second.ok() || second.code() == Code::duplicate_name));
  barrier();
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
