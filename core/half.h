// SPDX-License-Identifier: Apache-2.0
//
// Float16 (IEEE binary16) and BFloat16: 16-bit floating-point numbers as storage. Arithmetic is
// done in float; the conversions round to nearest, ties to even, and keep infinities and NaN.
//
//   std::vector<ringleader::Float16> weights(n, ringleader::Float16(0.5f));
#pragma once

#include <cstdint>
#include <cstring>

namespace ringleader {
namespace detail {

inline std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float float_of(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace detail

/// IEEE 754 binary16: 1 sign, 5 exponent and 10 mantissa bits.
struct Float16 {
  /// The IEEE 754 bits.
  std::uint16_t bits = 0;

  Float16() = default;
  /// Rounds to the nearest, ties to even.
  explicit Float16(float value) : bits(from_float(value)) {}
  /// Exact.
  explicit operator float() const { return to_float(bits); }

  /// Exact.
  static float to_float(std::uint16_t half) {
    // Shifts exponent and mantissa into place, then multiplies by 2^112 to correct the exponent
    // bias; the multiplication also normalizes subnormal numbers.
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
    const std::uint32_t magnitude = static_cast<std::uint32_t>(half & 0x7fffU) << 13;
    const float scaled = detail::float_of(magnitude) * detail::float_of(0x77800000U);
    const std::uint32_t special = (half & 0x7c00U) == 0x7c00U ? 0x7f800000U : 0U;
    return detail::float_of(detail::bits_of(scaled) | special | sign);
  }

  /// Rounds to the nearest, ties to even; infinite beyond 65,504.
  static std::uint16_t from_float(float value) {
    const std::uint32_t bits = detail::bits_of(value);
    const std::uint32_t sign = (bits >> 16) & 0x8000U;
    const std::uint32_t magnitude = bits & 0x7fffffffU;
    std::uint32_t half;
    if (magnitude >= 0x47800000U) {  // 65536 and above, infinity, NaN
      half = magnitude > 0x7f800000U ? 0x7e00U : 0x7c00U;
    } else if (magnitude < 0x38800000U) {  // below 2^-14: adding 0.5 lets the FPU round
      const float shifted = detail::float_of(magnitude) + 0.5f;
      half = detail::bits_of(shifted) - 0x3f000000U;
    } else {
      const std::uint32_t odd = (magnitude >> 13) & 1U;
      half = (magnitude - 0x38000000U + 0xfffU + odd) >> 13;
    }
    return static_cast<std::uint16_t>(sign | half);
  }
};

/// The upper half of an IEEE 754 binary32: 1 sign, 8 exponent and 7 mantissa bits.
struct BFloat16 {
  /// The upper half of the bits of an f32.
  std::uint16_t bits = 0;

  BFloat16() = default;
  /// Rounds to the nearest, ties to even.
  explicit BFloat16(float value) : bits(from_float(value)) {}
  /// Exact.
  explicit operator float() const { return to_float(bits); }

  /// Exact.
  static float to_float(std::uint16_t half) {
    return detail::float_of(static_cast<std::uint32_t>(half) << 16);
  }

  /// Rounds to the nearest, ties to even.
  static std::uint16_t from_float(float value) {
    const std::uint32_t bits = detail::bits_of(value);
    const std::uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
    const bool is_nan = (bits & 0x7fffffffU) > 0x7f800000U;
    return static_cast<std::uint16_t>(is_nan ? ((bits >> 16) | 0x40U) : rounded);
  }
};

}  // namespace ringleader
