// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/pipeline/exact_sum.h>

#include <ringleader/core/float_environment.h>
#include <ringleader/core/number.h>
#include <ringleader/core/types.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace ringleader {
namespace {

constexpr int kDigitBits = 32;
constexpr std::int64_t kDigitMask = 0xffffffff;

constexpr int kLeastExponent = -1074;

constexpr std::int64_t kAdditions = std::int64_t{1} << 30;

/// In the same order for every line: four sums, each over every fourth element.
template <typename T>
double squares_of(const T* values, std::size_t count) {
  double sums[4] = {0, 0, 0, 0};
  std::size_t i = 0;
  for (; i + 4 <= count; i += 4) {
    for (std::size_t k = 0; k < 4; ++k) {
      const double value = to_double(values[i + k]);
      sums[k] += value * value;
    }
  }
  for (; i < count; ++i) {
    const double value = to_double(values[i]);
    sums[i % 4] += value * value;
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

}  // namespace

ExactSum::ExactSum() : room_(kAdditions) {}

void ExactSum::add(double value) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  const auto exponent = static_cast<int>((bits >> 52) & 0x7ff);
  std::uint64_t mantissa = bits & ((std::uint64_t{1} << 52) - 1);
  if (exponent == 0x7ff) {
    ++digits_[kDigits + (mantissa == 0 ? 0 : 1)];
    return;
  }
  if (exponent > 0) mantissa |= std::uint64_t{1} << 52;
  // A denormal number has the exponent of the least normal one.
  const int place = std::max(exponent, 1) - 1;
  const auto digit = static_cast<std::size_t>(place / kDigitBits);
  const int shift = place % kDigitBits;
  const std::uint64_t low = (mantissa & kDigitMask) << shift;
  const std::uint64_t high = (mantissa >> kDigitBits) << shift;  // 21 bits plus up to 31
  const std::uint64_t middle = (low >> kDigitBits) + (high & kDigitMask);
  digits_[digit] += static_cast<std::int64_t>(low & kDigitMask);
  digits_[digit + 1] += static_cast<std::int64_t>(middle);
  digits_[digit + 2] += static_cast<std::int64_t>(high >> kDigitBits);
  if (--room_ == 0) carry();
}

void ExactSum::add_squares(const TensorView& tensor) {
  const DefaultFloats floats;
  with_type(tensor.dtype(), [&](auto element) {
    using T = decltype(element);
    constexpr std::size_t kLine = 64 / sizeof(T);
    const auto* const values = static_cast<const T*>(tensor.data());
    const auto count = static_cast<std::size_t>(tensor.count());
    for (std::size_t i = 0; i < count; i += kLine) {
      add(squares_of(values + i, std::min(kLine, count - i)));
    }
  });
}

void ExactSum::carry() {
  for (std::size_t i = 0; i + 1 < kDigits; ++i) {
    digits_[i + 1] += digits_[i] >> kDigitBits;
    digits_[i] &= kDigitMask;
  }
  room_ = kAdditions;
}

std::span<std::int64_t> ExactSum::digits() {
  carry();
  return digits_;
}

double ExactSum::value() {
  if (digits_[kDigits + 1] > 0) return std::numeric_limits<double>::quiet_NaN();
  if (digits_[kDigits] > 0) return std::numeric_limits<double>::infinity();
  carry();
  // From the top: after the first few digits, the rest no longer changes the sum.
  double sum = 0;
  for (std::size_t i = kDigits; i-- > 0;) {
    if (digits_[i] == 0) continue;
    sum += std::ldexp(static_cast<double>(digits_[i]),
                      static_cast<int>(i) * kDigitBits + kLeastExponent);
  }
  return sum;
}

}  // namespace ringleader
