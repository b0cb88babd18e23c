// SPDX-License-Identifier: Apache-2.0
//
// Traffic: how much data this process has moved, counted where it moves. The counts are exact, so
// tests compare them with closed forms; times could only be compared with each other.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

namespace ringleader {

struct Traffic {
  std::uint64_t messages = 0;       ///< sent to other ranks by our own algorithms
  std::uint64_t message_bytes = 0;  ///< in those messages
  std::uint64_t loaded_bytes = 0;   ///< read by reductions
  std::uint64_t stored_bytes = 0;   ///< written by reductions
  std::uint64_t copied_bytes = 0;   ///< copied as they are: packing, staging, moving
};

inline Traffic operator-(const Traffic& a, const Traffic& b) {
  return {a.messages - b.messages, a.message_bytes - b.message_bytes,
          a.loaded_bytes - b.loaded_bytes, a.stored_bytes - b.stored_bytes,
          a.copied_bytes - b.copied_bytes};
}

/// Counters are per thread: a shared atomic would bounce its cache line between cores, and that
/// would be most of the time of a small collective.
///
/// Threading: any.
class TrafficMeter {
 public:
  void sent(std::int64_t bytes) {
    Counts& counts = of_this_thread();
    add(counts.messages, 1);
    add(counts.message_bytes, bytes);
  }
  void reduced(std::int64_t loaded, std::int64_t stored) {
    Counts& counts = of_this_thread();
    add(counts.loaded, loaded);
    add(counts.stored, stored);
  }
  void copied(std::int64_t bytes) { add(of_this_thread().copied, bytes); }

  /// What all threads have moved, including those that have ended.
  Traffic read() const;

 private:
  using Count = std::atomic<std::uint64_t>;
  struct Counts {
    Count messages{0};
    Count message_bytes{0};
    Count loaded{0};
    Count stored{0};
    Count copied{0};
  };
  class Member;

  /// Only the calling thread writes the count.
  static void add(Count& count, std::int64_t more) {
    count.store(count.load(std::memory_order_relaxed) + static_cast<std::uint64_t>(more),
                std::memory_order_relaxed);
  }
  static Traffic sum(Traffic total, const Counts& counts);
  Counts& of_this_thread();

  mutable std::mutex mutex_;
  std::vector<const Counts*> threads_;
  Traffic of_the_ended_;
};

/// The meter of this process. Never destroyed: threads may end after main().
inline TrafficMeter& traffic_meter = *new TrafficMeter;

}  // namespace ringleader
