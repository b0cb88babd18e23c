// SPDX-License-Identifier: Apache-2.0
//
// StoreChoice: decides whether stages are written through the caches or past them, by measuring
// what each costs now.
//
// One core writes a slice of a stage and another reads it, again and again. If the two share a
// cache, the slice should stay there. If they do not, writing a line takes it from the other core:
// one crossing of the machine per line, and a core has only a few of them in flight. A line written
// past the caches goes to memory at once, and is read from there at the speed of memory. Which
// cores do the work is not known in advance (threads move, and virtual machines do not tell), so
// both ways are tried:
//
//   slice   0 ... 7    through the caches; the last four are timed
//           8 ... 15   past them; the last four are timed
//          16 ... 2047 the cheaper one
//
// All members count slices alike, so they run their trials at the same time. The cost of a slice is
// the time that a member works on it, without the time it waits. The bits are the same either way.
#pragma once

#include <ringleader/collectives/kernels/reduce.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace ringleader::shm {

/// Threading: one thread at a time.
class StoreChoice {
 public:
  static constexpr std::uint64_t kPeriod = 2048;
  static constexpr std::uint64_t kTrial = 8;
  static constexpr std::uint64_t kUntimed = 4;  ///< until the whole stage has been written this way
  static constexpr std::int64_t kTimedBytes = 32 << 10;

  /// Whether a slice of this batch is written past the caches.
  bool streams(std::uint64_t slice) const {
    const std::uint64_t place = place_of(slice);
    return place < 2 * kTrial ? place >= kTrial : streams_;
  }

  bool is_timed(std::uint64_t slice) const {
    const std::uint64_t place = place_of(slice);
    return place < 2 * kTrial && place % kTrial >= kUntimed;
  }

  /// Reports that a timed slice of `bytes` bytes took `seconds`. The least time per byte of several
  /// slices counts, because the others were interrupted. Small slices are ignored.
  void took(std::uint64_t slice, double seconds, std::int64_t bytes) {
    double& least = streams(slice) ? streamed_ : cached_;
    if (bytes >= kTimedBytes) least = std::min(least, seconds / static_cast<double>(bytes));
    if (place_of(slice) != 2 * kTrial - 1) return;
    if (std::isfinite(streamed_) && std::isfinite(cached_)) streams_ = streamed_ < cached_;
    streamed_ = cached_ = std::numeric_limits<double>::infinity();
  }

  /// The batch had `slices` slices, the same number on all members.
  void end_batch(std::uint64_t slices) { before_ += slices; }

 private:
  std::uint64_t place_of(std::uint64_t slice) const { return (before_ + slice) % kPeriod; }

  std::uint64_t before_ = 0;  ///< slices of earlier batches
  bool streams_ = false;
  double cached_ = std::numeric_limits<double>::infinity();  ///< of this trial
  double streamed_ = std::numeric_limits<double>::infinity();
};

}  // namespace ringleader::shm
