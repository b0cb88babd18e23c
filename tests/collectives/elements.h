// SPDX-License-Identifier: Apache-2.0
//
// Test elements: distinct per rank and position, and such that sums and products are exact in
// every element type and order, so that a wrong answer is visible and a right one is equal.
#pragma once

#include <ringleader/core/types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ringleader::test {

/// What rank `rank` contributes at `index`: a small integer, 0 to 10, or 1 to 2 for products.
inline double element(int rank, std::int64_t index, ReduceOp op) {
  if (op == ReduceOp::product) return 1.0 + static_cast<double>((index + rank) % 2);
  return static_cast<double>((index * 7 + rank * 5 + index / 11) % 11);
}

/// `values` as elements of `dtype`: rounded for floats, truncated for integers.
inline std::vector<std::byte> encode(const std::vector<double>& values, DType dtype) {
  std::vector<std::byte> bytes(values.size() * size_of(dtype));
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    T* out = reinterpret_cast<T*>(bytes.data());
    for (std::size_t i = 0; i < values.size(); ++i) {
      if constexpr (sizeof(T) == 2 && !std::is_integral_v<T>) {
        out[i] = T(static_cast<float>(values[i]));
      } else {
        out[i] = static_cast<T>(values[i]);
      }
    }
  });
  return bytes;
}

inline std::vector<double> decode(const std::vector<std::byte>& bytes, DType dtype) {
  std::vector<double> values(bytes.size() / size_of(dtype));
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* in = reinterpret_cast<const T*>(bytes.data());
    for (std::size_t i = 0; i < values.size(); ++i) {
      if constexpr (sizeof(T) == 2 && !std::is_integral_v<T>) {
        values[i] = static_cast<double>(static_cast<float>(in[i]));
      } else {
        values[i] = static_cast<double>(in[i]);
      }
    }
  });
  return values;
}

/// Half the distance between neighbouring numbers near 1: what one rounding may lose.
inline double rounding_of(DType dtype) {
  switch (dtype) {
    case DType::f16:
      return 1.0 / 2048;
    case DType::bf16:
      return 1.0 / 256;
    case DType::f32:
      return 1.0 / (1 << 23);  // two roundings: the factor and the product
    case DType::f64:
      return 1.0 / (std::int64_t{1} << 52);
    default:
      return 0;
  }
}

}  // namespace ringleader::test
