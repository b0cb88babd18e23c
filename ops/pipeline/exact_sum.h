// SPDX-License-Identifier: Apache-2.0
//
// ExactSum: a sum of non-negative doubles without rounding. It depends neither on the order nor on
// how the numbers are divided among ranks (a small superaccumulator: Kulisch 1971, Neal 2015).
//
//   ExactSum squares;
//   for (const Slot& slot : slots) squares.add_squares(slot.gradient);
//   allreduce(squares.digits()) in integers               // if each rank has a part of the sum
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

  /// Adds the squares of the elements of a tensor in host memory. Each cache line is first added up
  /// in doubles, in a fixed order, so tensors may be divided at lines, counted from their
  /// beginning.
  void add_squares(const TensorView& tensor);

  /// The sum as digits. Adding the digits of several sums one by one gives the digits of the total.
  /// No digit exceeds 2^32, so 2^31 sums may be added.
  std::span<std::int64_t> digits();

  /// The sum as a double; infinite or NaN if one of the numbers added is.
  double value();

 private:
  void carry();

  /// Bit 0 of digit 0 is the least bit of a double, 2^-1074. The greatest bit is 2^1023; 2^31
  /// numbers need 31 more bits.
  static constexpr std::size_t kDigits = (1024 + 1074 + 32 + 31) / 32;

  std::array<std::int64_t, kDigits + 2> digits_ = {};  ///< of 32 bits; then counts of inf and nan
  std::int64_t room_;                                  ///< additions until a digit might overflow
};

}  // namespace ringleader
