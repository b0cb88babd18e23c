// SPDX-License-Identifier: Apache-2.0
//
// The cheapest clock available, for stamps that are converted to times later, if ever.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <x86intrin.h>
#else
#include <chrono>
#endif

namespace ringleader::runtime {

/// Counts up at a constant, unknown rate; never 0. The processor's time stamp counter where there
/// is one (measured 11 ns a read, the system's monotonic clock 29), else nanoseconds.
inline std::int64_t ticks() {
#if defined(__x86_64__)
  return static_cast<std::int64_t>(__rdtsc());
#else
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
#endif
}

}  // namespace ringleader::runtime
