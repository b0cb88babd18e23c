// SPDX-License-Identifier: Apache-2.0
//
// The dumb reference with which backends are compared: element by element, in f64, rank after rank.
#pragma once

#include "../support/reduce_one.h"
#include "elements.h"

#include <cmath>
#include <cstdint>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

namespace ringleader::test {

/// The largest count of the suite: 1 Mi, and less where a sanitizer makes every access slow.
#ifdef RINGLEADER_SANITIZED
constexpr std::int64_t kLargestCount = 1 << 16;
#else
constexpr std::int64_t kLargestCount = 1 << 20;
#endif

/// One element of a reduction of what element() gives.
inline double reduce(int size, std::int64_t index, ReduceOp op, double prescale, bool integer) {
  return reduce_one(size, op, integer, [&](int rank) {
    const double scaled = element(rank, index, op) * prescale;
    return integer ? std::trunc(scaled) : scaled;
  });
}

/// The whole result of a reduction. Unscaled ones are kept, as the same are asked for again and
/// again with other element types.
inline std::vector<double> reduced(int size, std::int64_t begin, std::int64_t end, ReduceOp op,
                                   double prescale, bool integer) {
  const auto compute = [&](std::int64_t first, std::int64_t last) {
    std::vector<double> values;
    for (std::int64_t i = first; i < last; ++i) {
      values.push_back(reduce(size, i, op, prescale, integer));
    }
    return values;
  };
  if (prescale != 1.0 || end > kLargestCount) return compute(begin, end);
  static thread_local std::map<std::tuple<int, ReduceOp, bool>, std::vector<double>> kept;
  std::vector<double>& whole = kept[{size, op, integer}];
  if (whole.empty()) whole = compute(0, kLargestCount);
  return {whole.begin() + begin, whole.begin() + end};
}

/// Postscaled as the library does it.
inline double finished(double value, double postscale, bool integer) {
  const double scaled = value * postscale;
  return integer ? std::trunc(scaled) : scaled;
}

/// What a rank contributes at [begin, end).
inline std::vector<double> elements(int rank, std::int64_t begin, std::int64_t end, ReduceOp op) {
  static thread_local std::map<std::pair<int, bool>, std::vector<double>> kept;
  std::vector<double>& whole = kept[{rank, op == ReduceOp::product}];
  for (auto i = static_cast<std::int64_t>(whole.size()); i < end; ++i) {
    whole.push_back(element(rank, i, op));
  }
  return {whole.begin() + begin, whole.begin() + end};
}

}  // namespace ringleader::test
