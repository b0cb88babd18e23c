// SPDX-License-Identifier: Apache-2.0
//
// Behaviours 7 to 33 that Horovod's own tests assert, named after them: allreduce, alone and in
// groups. tests/README.md says which do not apply. The conformance suite covers every backend; here
// the public functions are asked.
#include "behaviours.h"

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

using namespace ringleader;
using namespace ringleader::test;

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

TEST_CASE("14: many asynchronous operations at once are all right") {
  std::vector<std::vector<float>> tensors;
  std::vector<Handle> handles;
  for (int i = 0; i < 200; ++i) {
    tensors.push_back(filled<float>(100 + 17 * i, rank() + 1));
    handles.push_back(allreduce_async("b14." + std::to_string(i), tensors.back(), ReduceOp::sum));
  }
  for (std::size_t i = 0; i < handles.size(); ++i) {
    handles[i].wait();
    CHECK(last_of(tensors[i]) == sum_of_ranks());
  }
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
