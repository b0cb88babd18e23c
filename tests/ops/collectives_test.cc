// SPDX-License-Identifier: Apache-2.0
//
// The public collectives, on 1 to 4 ranks under mpirun.
#include "../support/catch.h"
#include "outcome.h"

#include <ringleader/ringleader.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

using namespace ringleader;
using ringleader::test::outcome_of;

namespace {

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

TEST_CASE("exchange: a ring, a pipeline, pairs, and those that have no partner") {
  const auto tensor = [](int from) {
    std::vector<float> values(static_cast<std::size_t>(2 * (from + 1)), static_cast<float>(from));
    return values;
  };
  const auto pass = [&](const std::string& name, const std::vector<int>& to) {
    const std::vector<float> own = tensor(rank());
    const Output output =
        exchange(name, ConstTensorView(own.data(), {rank() + 1, 2}, DType::f32), to);
    std::vector<float> expected;
    std::vector<std::int64_t> rows(static_cast<std::size_t>(size()), 0);
    for (int from = 0; from < size(); ++from) {
      if (to[static_cast<std::size_t>(from)] != rank()) continue;
      expected = tensor(from);
      rows[static_cast<std::size_t>(from)] = from + 1;
    }
    CHECK(output.to_vector<float>() == expected);
    CHECK(output.rows() == rows);
  };
  std::vector<int> ring;
  std::vector<int> pipeline;
  std::vector<int> pairs;
  for (int from = 0; from < size(); ++from) {
    ring.push_back((from + 1) % size());
    pipeline.push_back(from + 1 < size() ? from + 1 : -1);
    pairs.push_back((from ^ 1) < size() ? from ^ 1 : -1);
  }
  for (int repeat = 0; repeat < 3; ++repeat) {
    pass("ring", ring);
    pass("pipeline", pipeline);
    pass("pairs", pairs);
    pass("nobody", std::vector<int>(static_cast<std::size_t>(size()), -1));
  }
}

TEST_CASE("exchange: destinations that are no pairing, or about which ranks disagree") {
  std::vector<float> values(4);
  const auto with = [&](const std::vector<int>& to) {
    return outcome_of([&] { (void)exchange("x", values, to); });
  };
  std::vector<int> to(static_cast<std::size_t>(size()), -1);
  CHECK(with({}).code() == Code::invalid_argument);
  to[0] = size();
  CHECK(with(to).message().find("the destinations [") != std::string::npos);
  if (size() == 1) return;
  to[0] = to[1] = 0;
  CHECK(with(to).code() == Code::invalid_argument);
  to[0] = 1;
  to[1] = rank() == 0 ? 0 : -1;
  const Status status = with(to);
  CHECK(status.code() == Code::mismatch);
  CHECK(status.message().find("destinations") != std::string::npos);
}
