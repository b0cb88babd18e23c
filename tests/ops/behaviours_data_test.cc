// SPDX-License-Identifier: Apache-2.0
//
// Behaviours 7 to 71 that Horovod's own tests assert, for a C++ library, named after them: what the
// collectives compute. behaviours_life_test.cc has the others; tests/README.md says which do not
// apply. Number of element types, of extents and of ranks are those of the conformance suite, which
// covers every backend; here the public functions are asked.
#include "../support/catch.h"
#include "outcome.h"

#include <ringleader/ringleader.h>

#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

using namespace ringleader;
using ringleader::test::outcome_of;

namespace {

template <typename T>
std::vector<T> filled(std::int64_t count, double value) {
  return std::vector<T>(static_cast<std::size_t>(count), static_cast<T>(static_cast<float>(value)));
}

/// Calls test(T()) for the types of behaviour 7.
template <typename Test>
void for_each_type(Test test) {
  test(std::int32_t());
  test(std::int64_t());
  test(Float16());
  test(float());
  test(double());
}

template <typename T>
double last_of(const std::vector<T>& values) {
  return static_cast<double>(static_cast<float>(values.back()));
}

/// A tensor of 1, 2 or 3 dimensions of 17.
template <typename T>
TensorView cube(std::vector<T>& values, int dimensions) {
  return TensorView(values.data(), Shape(static_cast<std::size_t>(dimensions), 17), dtype_of<T>());
}

template <typename Test>
void for_each_cube(Test test) {
  for_each_type([&](auto zero) {
    using T = decltype(zero);
    for (int dimensions = 1; dimensions <= 3; ++dimensions) {
      const auto count = static_cast<std::int64_t>(std::pow(17, dimensions));
      std::vector<T> values = filled<T>(count, rank() + 1);
      test(values, cube(values, dimensions));
    }
  });
}

double sum_of_ranks() { return size() * (size() + 1) / 2.0; }

/// The operation with a last rank that differs must give the same error on every rank.
template <typename Run>
void disagrees(Run run, const std::string& field) {
  if (size() == 1) return;
  const Status status = outcome_of([&] { run(rank() == size() - 1); });
  CHECK(status.code() == Code::mismatch);
  CHECK(status.message().find(field) != std::string::npos);
  CHECK(status.message().find("rank " + std::to_string(size() - 1)) != std::string::npos);
}

}  // namespace

TEST_CASE("7: allreduce sums are exact for 5 types in 1, 2 and 3 dimensions of 17") {
  for_each_cube([](auto& values, const TensorView& view) {
    allreduce("b7", view, ReduceOp::sum);
    CHECK(last_of(values) == sum_of_ranks());
  });
}

TEST_CASE("8: allreduce averages are right for the same types") {
  for_each_cube([](auto& values, const TensorView& view) {
    allreduce("b8", view, ReduceOp::average);
    const bool integer = !is_floating_point(view.dtype());
    const double mean = sum_of_ranks() / size();
    CHECK(last_of(values) == (integer ? std::trunc(mean) : mean));
  });
}

TEST_CASE("9, 10, 11: min, max and product are right") {
  for_each_cube([](auto& values, const TensorView& view) {
    auto copy = values;
    allreduce("b9", view, ReduceOp::min);
    CHECK(last_of(values) == 1.0);
    values = copy;
    allreduce("b10", view, ReduceOp::max);
    CHECK(last_of(values) == size());
    values = copy;
    allreduce("b11", view, ReduceOp::product);
    CHECK(last_of(values) == std::tgamma(size() + 1));
  });
}

TEST_CASE("12, 13: in place the input is overwritten, out of place it is left alone") {
  std::vector<float> input = filled<float>(100, rank());
  std::vector<float> output(100);
  allreduce("b13", input, TensorView(output), ReduceOp::sum);
  CHECK(input[0] == static_cast<float>(rank()));
  allreduce("b12", input, ReduceOp::sum);
  CHECK(input == output);
}

TEST_CASE("14: many asynchronous operations: not all are ready at once, and all are right") {
  std::vector<std::vector<float>> tensors;
  std::vector<Handle> handles;
  for (int i = 0; i < 200; ++i) {
    tensors.push_back(filled<float>(100 + 17 * i, rank() + 1));
    handles.push_back(allreduce_async("b14." + std::to_string(i), tensors.back(), ReduceOp::sum));
  }
  bool waited = size() == 1;
  for (std::size_t i = 0; i < handles.size(); ++i) {
    waited = waited || !handles[i].ready();
    handles[i].wait();
    CHECK(last_of(tensors[i]) == sum_of_ranks());
  }
  CHECK(waited);
}

TEST_CASE("17, 18: factors scale before and after the sum; integers in f64 and truncated") {
  for_each_cube([](auto& values, const TensorView& view) {
    auto copy = values;
    const bool integer = !is_floating_point(view.dtype());
    ReduceOptions options;
    options.prescale = 0.75;
    allreduce("b17", view, ReduceOp::sum, options);
    double expected = 0;
    for (int i = 1; i <= size(); ++i) expected += integer ? std::trunc(0.75 * i) : 0.75 * i;
    CHECK(last_of(values) == expected);
    values = copy;
    options.prescale = 1.0;
    options.postscale = 0.75;
    allreduce("b18", view, ReduceOp::sum, options);
    const double scaled = 0.75 * sum_of_ranks();
    CHECK(last_of(values) == (integer ? std::trunc(scaled) : scaled));
  });
}

TEST_CASE("19, 20: another extent, or another number of dimensions, is an error on every rank") {
  std::vector<float> values(17 * 17 * 17);
  disagrees(
      [&](bool odd) {
        allreduce("b19", TensorView(values.data(), {17, odd ? 16 : 17}, DType::f32));
      },
      "shape");
  disagrees(
      [&](bool odd) {
        allreduce("b20",
                  TensorView(values.data(), odd ? Shape{17 * 17} : Shape{17, 17}, DType::f32));
      },
      "shape");
}

TEST_CASE("21, 22: another element type or memory is an error on every rank") {
  std::vector<double> values(8);
  disagrees(
      [&](bool odd) {
        allreduce("b21", TensorView(values.data(), {8}, odd ? DType::f32 : DType::f64));
      },
      "element type");
  disagrees(
      [&](bool odd) {
        allreduce("b22",
                  TensorView(values.data(), {8}, DType::f64, odd ? Device::cuda : Device::host));
      },
      "memory");
}

TEST_CASE("24: after a mismatch the next operation of the same name works") {
  std::vector<float> values(8, 1.f);
  disagrees(
      [&](bool odd) { allreduce("b24", TensorView(values.data(), {odd ? 7 : 8}, DType::f32)); },
      "shape");
  allreduce("b24", values, ReduceOp::sum);
  CHECK(values[7] == static_cast<float>(size()));
}

TEST_CASE("25, 26: another reduction or factor is an error on every rank") {
  std::vector<float> values(8);
  disagrees([&](bool odd) { allreduce("b25", values, odd ? ReduceOp::max : ReduceOp::sum); },
            "reduction");
  disagrees(
      [&](bool odd) {
        ReduceOptions options;
        options.postscale = odd ? 2.0 : 1.0;
        allreduce("b26", values, ReduceOp::sum, options);
      },
      "postscale");
}

TEST_CASE("28: the name and the view may go right after submitting; the memory stays") {
  std::vector<float> values(1000, 1.f);
  Handle handle;
  {
    std::string name = "b28";
    const TensorView view(values);
    handle = allreduce_async(name, view, ReduceOp::sum);
    name.assign(3, 'x');
  }
  handle.wait();
  CHECK(values[999] == static_cast<float>(size()));
}

TEST_CASE("29, 30: groups of 5 tensors, in place, for every reduction") {
  for (const ReduceOp op :
       {ReduceOp::sum, ReduceOp::average, ReduceOp::min, ReduceOp::max, ReduceOp::product}) {
    std::vector<std::vector<double>> tensors(5, filled<double>(17, rank() + 1));
    const std::vector<TensorView> views(tensors.begin(), tensors.end());
    grouped_allreduce("b29", views, op);
    const double expected = op == ReduceOp::sum       ? sum_of_ranks()
                            : op == ReduceOp::average ? sum_of_ranks() / size()
                            : op == ReduceOp::min     ? 1.0
                            : op == ReduceOp::max     ? size()
                                                      : std::tgamma(size() + 1);
    for (const auto& tensor : tensors) CHECK(tensor.back() == Approx(expected));
  }
}

TEST_CASE("31: a group that mixes host and device memory is refused") {
  std::vector<float> values(4);
  const Status status = outcome_of([&] {
    grouped_allreduce(
        "b31", {TensorView(values), TensorView(values.data(), {4}, DType::f32, Device::cuda)});
  });
  CHECK(status.code() == Code::invalid_argument);
}

TEST_CASE("33: a group runs only when every rank has submitted all of it") {
  std::vector<float> a(4, 1.f);
  std::vector<float> b(4, 1.f);
  if (rank() > 0) {
    const Handle group =
        grouped_allreduce_async("b33", {TensorView(a), TensorView(b)}, ReduceOp::sum);
    barrier();
    CHECK_FALSE(group.ready());
    barrier();
    group.wait();
  } else {
    barrier();
    barrier();
    grouped_allreduce("b33", {TensorView(a), TensorView(b)}, ReduceOp::sum);
  }
  CHECK(a[0] + b[3] == static_cast<float>(2 * size()));
}

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
