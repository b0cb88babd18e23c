// SPDX-License-Identifier: Apache-2.0
//
// ExactSum: a sum of non-negative doubles without rounding, so that it does not depend on the
// order, nor on how the numbers are divided among ranks (a small superaccumulator: Kulisch 1971,
// Neal 2015).
//
//   ExactSum squares;
//   for (const Slot& slot : slots) squares.add_squares(slot.gradient);
//   allreduce(squares.digits()) in integers               // where ranks have parts of it
//   const double norm = std::sqrt(squares.value());
#pragma once

#include <ringleader/core/tensor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace ringleader {

/// Threading: one thread at a time.
class ExactSum {
 public:
  ExactSum();

  void add(double value);

  /// The squares of a tensor's elements in host memory. Each cache line of them is added up in
  /// doubles first, in one order: tensors may be divided at lines, counted from their beginning.
  void add_squares(const TensorView& tensor);

  /// The sum as digits: those of several sums, added one by one, are those of the sum of all. No
  /// digit exceeds 2^32, so 2^31 may be added.
  std::span<std::int64_t> digits();

  /// Infinite or not a number if one of what was added is.
  double value();

 private:
  void carry();

  /// Bit 0 of digit 0 is the least bit of a double, 2^-1074. The greatest is 2^1023; 2^31 of them
  /// need 31 bits more.
  static constexpr std::size_t kDigits = (1024 + 1074 + 32 + 31) / 32;

  std::array<std::int64_t, kDigits + 2> digits_ = {};  ///< of 32 bits; then counts of inf and nan
  std::int64_t room_;                                  ///< additions until a digit might overflow
};

}  // namespace ringleader
