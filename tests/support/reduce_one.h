// SPDX-License-Identifier: Apache-2.0
//
// The reference for reductions: one element, in f64, rank after rank.
#pragma once

#include <ringleader/core/types.h>

#include <algorithm>
#include <cmath>

namespace ringleader::test {

/// What `op` makes of value(0) to value(size - 1); the mean of integers is cut.
template <typename Value>
double reduce_one(int size, ReduceOp op, bool integer, const Value& value) {
  double total = value(0);
  for (int rank = 1; rank < size; ++rank) {
    const double next = value(rank);
    switch (op) {
      case ReduceOp::sum:
      case ReduceOp::average:
        total += next;
        break;
      case ReduceOp::min:
        total = std::min(total, next);
        break;
      case ReduceOp::max:
        total = std::max(total, next);
        break;
      case ReduceOp::product:
        total *= next;
    }
  }
  if (op != ReduceOp::average) return total;
  return integer ? std::trunc(total / size) : total / size;
}

}  // namespace ringleader::test
