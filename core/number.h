// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ringleader/core/half.h>

#include <type_traits>

namespace ringleader {

/// Convert any element type to f64 and back; 16-bit floats go through f32.
template <typename T>
double to_double(T value) {
  if constexpr (std::is_arithmetic_v<T>) {
    return static_cast<double>(value);
  } else {
    return static_cast<double>(static_cast<float>(value));
  }
}
template <typename T>
T from_double(double value) {
  if constexpr (std::is_arithmetic_v<T>) {
    return static_cast<T>(value);
  } else {
    return T(static_cast<float>(value));
  }
}

}  // namespace ringleader
