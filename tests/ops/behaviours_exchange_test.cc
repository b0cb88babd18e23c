// SPDX-License-Identifier: Apache-2.0
//
// Behaviours 34 to 71 that Horovod's own tests assert, named after them: allgather, broadcast,
// alltoall and reduce_scatter.
#include "behaviours.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

using namespace ringleader;
using namespace ringleader::test;

TEST_CASE("34, 35, 37: allgather concatenates in rank order, whatever the first extents") {
  const int rows[] = {17, 32, 81, 12};
  for_each_type([&](auto zero) {
    using T = decltype(zero);
    for (const bool equal : {true, false}) {
      const auto own = equal ? 17 : rows[rank()];
      std::vector<T> values = filled<T>(own * 3, rank() + 1);
      const Output output = allgather("b34", TensorView(values.data(), {own, 3}, dtype_of<T>()));
      std::vector<double> expected;
      for (int i = 0; i < size(); ++i) {
        expected.insert(expected.end(), static_cast<std::size_t>((equal ? 17 : rows[i]) * 3),
                        i + 1);
      }
      const std::vector<T> all = output.to_vector<T>();
      REQUIRE(all.size() == expected.size());
      bool right = true;
      for (std::size_t i = 0; i < all.size(); ++i) {
        right = right && static_cast<double>(static_cast<float>(all[i])) == expected[i];
      }
      CHECK(right);
      CHECK(output.view().shape()[1] == 3);
    }
  });
}

TEST_CASE("36, 42: several allgathers at once, also uneven ones") {
  std::vector<std::vector<float>> tensors;
  std::vector<Handle> handles;
  for (int i = 0; i < 10; ++i) {
    tensors.push_back(filled<float>((rank() + i) % 4, rank()));
    handles.push_back(allgather_async("b36." + std::to_string(i), tensors.back()));
  }
  for (int i = 0; i < 10; ++i) {
    std::int64_t rows = 0;
    for (int r = 0; r < size(); ++r) rows += (r + i) % 4;
    CHECK(handles[static_cast<std::size_t>(i)].output().view().count() == rows);
  }
}

TEST_CASE("38, 39: other extents than the first, or types, are errors in allgather") {
  std::vector<double> values(64);
  disagrees(
      [&](bool odd) {
        (void)allgather("b38", TensorView(values.data(), {2, odd ? 3 : 4}, DType::f64));
      },
      "shape");
  disagrees(
      [&](bool odd) {
        (void)allgather("b39", TensorView(values.data(), {4}, odd ? DType::f32 : DType::f64));
      },
      "element type");
}

TEST_CASE("40, 65: a scalar has no first dimension for allgather and reduce_scatter") {
  float scalar = 1.f;
  const TensorView view(&scalar, {}, DType::f32);
  CHECK(outcome_of([&] { (void)allgather("b40", view); }).code() == Code::invalid_argument);
  CHECK(outcome_of([&] { (void)reduce_scatter("b65", view); }).code() == Code::invalid_argument);
}

TEST_CASE("44, 45: every root's data reach all ranks; out of place the input is left alone") {
  for (int root = 0; root < size(); ++root) {
    for_each_cube([root](auto& values, const TensorView& view) {
      auto output = values;
      broadcast("b44", view, TensorView(output.data(), view.shape(), view.dtype()), root);
      CHECK(last_of(output) == root + 1);
      CHECK(last_of(values) == rank() + 1);
      broadcast("b45", view, root);
      CHECK(last_of(values) == root + 1);
    });
  }
}

TEST_CASE("46, 47, 48: another shape, type or root is an error in broadcast") {
  std::vector<double> values(8);
  disagrees(
      [&](bool odd) { broadcast("b46", TensorView(values.data(), {odd ? 7 : 8}, DType::f64), 0); },
      "shape");
  disagrees(
      [&](bool odd) {
        broadcast("b47", TensorView(values.data(), {8}, odd ? DType::f32 : DType::f64), 0);
      },
      "element type");
  disagrees([&](bool odd) { broadcast("b48", values, odd ? 1 : 0); }, "root");
}

TEST_CASE("49: a root outside the set is refused") {
  std::vector<float> values(4);
  CHECK(outcome_of([&] { broadcast("b49", values, size()); }).code() == Code::invalid_argument);
  CHECK(outcome_of([&] { broadcast("b49", values, -1); }).code() == Code::invalid_argument);
}

TEST_CASE("52, 53, 55: alltoall with uneven, equal and empty splits") {
  std::vector<std::int64_t> uneven;
  std::vector<float> values;
  for (int to = 0; to < size(); ++to) {
    uneven.push_back(rank() + to);
    values.insert(values.end(), static_cast<std::size_t>(rank() + to),
                  static_cast<float>(10 * rank() + to));
  }
  Output output = alltoall("b52", values, uneven);
  std::vector<float> expected;
  for (int from = 0; from < size(); ++from) {
    CHECK(output.rows()[static_cast<std::size_t>(from)] == from + rank());
    expected.insert(expected.end(), static_cast<std::size_t>(from + rank()),
                    static_cast<float>(10 * from + rank()));
  }
  CHECK(output.to_vector<float>() == expected);
  std::vector<float> equal = filled<float>(2 * size(), rank());
  output = alltoall("b53", equal);
  for (int from = 0; from < size(); ++from) {
    CHECK(output.to_vector<float>()[static_cast<std::size_t>(2 * from)] ==
          static_cast<float>(from));
  }
  std::vector<float> none;
  CHECK(alltoall("b55", none).view().count() == 0);
  // Only rank 0 sends, and everything to the last rank.
  std::vector<std::int64_t> splits(static_cast<std::size_t>(size()), 0);
  std::vector<float> sent = filled<float>(rank() == 0 ? 5 : 0, 1);
  if (rank() == 0) splits.back() = 5;
  CHECK(alltoall("b55", sent, splits).view().count() == (rank() == size() - 1 ? 5 : 0));
}

TEST_CASE("56, 60: another type, or other extents than the first, are errors in alltoall") {
  std::vector<double> values(64);
  const std::int64_t rows = size();
  disagrees(
      [&](bool odd) {
        (void)alltoall("b56", TensorView(values.data(), {rows}, odd ? DType::f32 : DType::f64));
      },
      "element type");
  disagrees(
      [&](bool odd) {
        (void)alltoall("b60", TensorView(values.data(), {rows, odd ? 2 : 3}, DType::f64));
      },
      "shape");
}

TEST_CASE("57, 58: rows that cannot be split, or splits beyond the rows, are refused at once") {
  std::vector<float> values(static_cast<std::size_t>(size()) + 1);
  if (size() > 1)
    CHECK(outcome_of([&] { (void)alltoall("b57", values); }).code() == Code::invalid_argument);
  const std::vector<std::int64_t> splits(static_cast<std::size_t>(size()), 3);
  CHECK(outcome_of([&] { (void)alltoall("b58", values, splits); }).code() ==
        Code::invalid_argument);
}

TEST_CASE(
    "62, 63, 64: reduce_scatter gives the first ranks the rows that remain, scaled as asked") {
  for_each_type([](auto zero) {
    using T = decltype(zero);
    for (const std::int64_t rows : {4 * size(), 4 * size() + size() - 1}) {
      std::vector<T> values = filled<T>(rows * 2, rank() + 1);
      ReduceOptions options;
      options.postscale = 2.0;
      const Output output = reduce_scatter(
          "b62", TensorView(values.data(), {rows, 2}, dtype_of<T>()), ReduceOp::sum, options);
      const std::int64_t own = rows / size() + (rank() < rows % size() ? 1 : 0);
      CHECK(output.view().shape() == Shape{own, 2});
      CHECK(last_of(output.to_vector<T>()) == 2 * sum_of_ranks());
    }
  });
}

TEST_CASE("67, 68: another shape or type is an error in reduce_scatter") {
  std::vector<double> values(64);
  disagrees(
      [&](bool odd) {
        (void)reduce_scatter("b67", TensorView(values.data(), {odd ? 7 : 8}, DType::f64));
      },
      "shape");
  disagrees(
      [&](bool odd) {
        (void)reduce_scatter("b68", TensorView(values.data(), {8}, odd ? DType::f32 : DType::f64));
      },
      "element type");
}
