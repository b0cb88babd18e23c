// SPDX-License-Identifier: Apache-2.0
#include "../support/catch.h"

#include <ringleader/ops/pipeline/exact_sum.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

using namespace ringleader;

namespace {

double sum_of(const std::vector<double>& values) {
  ExactSum sum;
  for (const double value : values) sum.add(value);
  return sum.value();
}

}  // namespace

TEST_CASE("an exact sum does not depend on the order, nor on how it is divided") {
  std::mt19937_64 random(5);
  std::vector<double> values;
  for (int i = 0; i < 3000; ++i) {
    values.push_back(
        std::ldexp(static_cast<double>(random()), static_cast<int>(random() % 1900) - 1050));
  }
  const double sum = sum_of(values);
  for (int repeat = 0; repeat < 5; ++repeat) {
    std::shuffle(values.begin(), values.end(), random);
    CHECK(sum_of(values) == sum);
    ExactSum parts[3];
    for (const double value : values) parts[random() % 3].add(value);
    for (std::size_t d = 0; d < parts[0].digits().size(); ++d) {
      parts[0].digits()[d] += parts[1].digits()[d] + parts[2].digits()[d];
    }
    CHECK(parts[0].value() == sum);
  }
}

TEST_CASE("an exact sum loses nothing") {
  const double large = std::ldexp(1.0, 1000);
  CHECK(sum_of({large, 1.0}) == large);
  CHECK(sum_of({1.0, std::ldexp(1.0, -52)}) == 1.0 + std::ldexp(1.0, -52));
  std::vector<double> small(1024, std::ldexp(1.0, -53));
  small.push_back(1.0);  // one by one, none of them would count
  CHECK(sum_of(small) == 1.0 + std::ldexp(1.0, -43));
  const double least = std::numeric_limits<double>::denorm_min();
  CHECK(sum_of({least, least, least}) == 3 * least);
  CHECK(sum_of({std::numeric_limits<double>::max()}) == std::numeric_limits<double>::max());
  CHECK(sum_of({}) == 0);
  CHECK(std::isinf(sum_of({1, std::numeric_limits<double>::infinity()})));
  CHECK(std::isnan(sum_of({std::nan(""), std::numeric_limits<double>::infinity()})));
}

TEST_CASE("the squares of a tensor are those of its pieces, cut at cache lines") {
  std::mt19937_64 random(6);
  std::normal_distribution<float> normal;
  for (const std::size_t count : {0U, 1U, 15U, 16U, 1000U, 4099U}) {
    std::vector<float> values(count);
    double plain = 0;
    for (float& value : values) {
      value = normal(random);
      plain += static_cast<double>(value) * static_cast<double>(value);
    }
    ExactSum whole;
    whole.add_squares(TensorView(values));
    CHECK(std::abs(whole.value() - plain) <= 1e-12 * plain);
    const std::size_t cut = count / 2 / 16 * 16;
    ExactSum pieces;
    pieces.add_squares(TensorView(values.data() + cut, {static_cast<std::int64_t>(count - cut)}));
    pieces.add_squares(TensorView(values.data(), {static_cast<std::int64_t>(cut)}));
    CHECK(pieces.value() == whole.value());
  }
}
