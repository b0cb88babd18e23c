// SPDX-License-Identifier: Apache-2.0
//
// What the tests of behaviours share: tensors of the types and shapes that Horovod's tests use.
#pragma once

#include "../support/catch.h"
#include "outcome.h"

#include <ringleader/ringleader.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace ringleader::test {

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

inline double sum_of_ranks() { return size() * (size() + 1) / 2.0; }

/// The operation with a last rank that differs must give the same error on every rank.
template <typename Run>
void disagrees(Run run, const std::string& field) {
  if (size() == 1) return;
  const Status status = outcome_of([&] { run(rank() == size() - 1); });
  CHECK(status.code() == Code::mismatch);
  CHECK(status.message().find(field) != std::string::npos);
  CHECK(status.message().find("rank " + std::to_string(size() - 1)) != std::string::npos);
}

}  // namespace ringleader::test
