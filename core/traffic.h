// SPDX-License-Identifier: Apache-2.0
//
// Traffic: what this process has moved, counted where it is moved. The counts are exact, so tests
// compare them with closed forms, where times would only be compared with each other.
#pragma once

#include <atomic>
#include <cstdint>

namespace ringleader {

struct Traffic {
  std::uint64_t messages = 0;       ///< sent to other ranks by our own algorithms
  std::uint64_t message_bytes = 0;  ///< in them
  std::uint64_t loaded_bytes = 0;   ///< read by reductions
  std::uint64_t stored_bytes = 0;   ///< written by reductions
  std::uint64_t copied_bytes = 0;   ///< copied as they are: packing, staging, moving
};

inline Traffic operator-(const Traffic& a, const Traffic& b) {
  return {a.messages - b.messages, a.message_bytes - b.message_bytes,
          a.loaded_bytes - b.loaded_bytes, a.stored_bytes - b.stored_bytes,
          a.copied_bytes - b.copied_bytes};
}

/// Threading: any.
class TrafficMeter {
 public:
  void sent(std::int64_t bytes) {
    add(messages_, 1);
    add(message_bytes_, bytes);
  }
  void reduced(std::int64_t loaded, std::int64_t stored) {
    add(loaded_, loaded);
    add(stored_, stored);
  }
  void copied(std::int64_t bytes) { add(copied_, bytes); }

  Traffic read() const { return {messages_, message_bytes_, loaded_, stored_, copied_}; }

 private:
  using Count = std::atomic<std::uint64_t>;
  static void add(Count& count, std::int64_t more) {
    count.fetch_add(static_cast<std::uint64_t>(more), std::memory_order_relaxed);
  }

  Count messages_{0};
  Count message_bytes_{0};
  Count loaded_{0};
  Count stored_{0};
  Count copied_{0};
};

/// Of the process.
inline TrafficMeter traffic_meter;

}  // namespace ringleader
