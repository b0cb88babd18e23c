// SPDX-License-Identifier: Apache-2.0
//
// Backoff: how a thread that found nothing to do passes the time until it looks again.
//
//   A caller that waits   looks 16 times at once, spins for 20 us, then yields for 1 ms, then
//                         sleeps 50 to 200 us: what it waits for is usually near, and nothing else
//                         wants this core.
//   With more ranks than  yields at once, then sleeps: another rank wants this core.
//   cores
//   The background        looks 8 times, then sleeps 50 us, doubling up to 1 ms while operations
//   thread                are pending (the program is computing on this core), and up to 20 ms
//                         while none are: then it looks only for what other ranks want.
//
// On common kernels, sleeping 50 us takes 110 us or more, waking 15 to 35 us, and a yield 0.5 us.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <thread>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace ringleader::runtime {

inline void cpu_relax() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Backoff {
 public:
  using Clock = std::chrono::steady_clock;

  void reset() {
    misses_ = 0;
    since_ = Clock::time_point();
  }

  /// For a thread that waits: spins, yields or sleeps once.
  void pause(bool oversubscribed) {
    if (misses_++ < kAtOnce && !oversubscribed) return cpu_relax();
    if (since_ == Clock::time_point()) since_ = Clock::now();
    const auto waited = Clock::now() - since_;
    if (!oversubscribed && waited < kSpin) {
      cpu_relax();
    } else if (waited < kYield) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(waited < 10 * kYield ? kShortest : 4 * kShortest);
    }
  }

  /// For the background thread: how long to sleep now; zero at first.
  std::chrono::microseconds rest(bool pending) {
    if (misses_++ < 8) return std::chrono::microseconds(0);
    const std::int64_t doubled = kShortest.count() << std::min<std::int64_t>(misses_ - 9, 20);
    return std::min(std::chrono::microseconds(doubled), pending ? kLongestPending : kLongestIdle);
  }

 private:
  static constexpr std::int64_t kAtOnce = 16;  ///< looks without reading the clock
  static constexpr std::chrono::microseconds kSpin{20};
  static constexpr std::chrono::microseconds kYield{1000};
  static constexpr std::chrono::microseconds kShortest{50};
  static constexpr std::chrono::microseconds kLongestPending{1000};
  static constexpr std::chrono::microseconds kLongestIdle{20000};

  std::int64_t misses_ = 0;
  Clock::time_point since_;
};

}  // namespace ringleader::runtime
