// SPDX-License-Identifier: Apache-2.0
//
// StoreChoice: whether stages are written through the caches or past them, by what each costs now.
//
// A slice of a stage is written by one core and read by another, again and again. If the two share
// a cache, it should stay there. If they do not, to write a line is to take it from the other core:
// one crossing of the machine per line, of which a core has few under way at a time. Written past
// the caches it goes to memory at once, and is read from there at the speed of memory. Which cores
// work is not known before (threads move, and virtual machines do not say), so both are tried:
//
//   slice   0 ... 7    through the caches; the last four are timed
//           8 ... 15   past them; the last four are timed
//          16 ... 2047 the cheaper one
//
// All members count slices alike, so they try at the same time; what a slice costs a member is the
// time it works on it, not what it waits. The bits are the same.
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
  static constexpr std::uint64_t kUntimed = 4;  ///< until the whole stage was written so
  static constexpr std::int64_t kTimedBytes = 32 << 10;

  /// For a slice of this batch.
  bool streams(std::uint64_t slice) const {
    const std::uint64_t place = place_of(slice);
    return place < 2 * kTrial ? place >= kTrial : streams_;
  }

  bool is_timed(std::uint64_t slice) const {
    const std::uint64_t place = place_of(slice);
    return place < 2 * kTrial && place % kTrial >= kUntimed;
  }

  /// A slice that is timed, of so many bytes, took so long. Of several the least time per byte
  /// counts: the others were interrupted. Small ones say nothing.
  void took(std::uint64_t slice, double seconds, std::int64_t bytes) {
    double& least = streams(slice) ? streamed_ : cached_;
    if (bytes >= kTimedBytes) least = std::min(least, seconds / static_cast<double>(bytes));
    if (place_of(slice) != 2 * kTrial - 1) return;
    if (std::isfinite(streamed_) && std::isfinite(cached_)) streams_ = streamed_ < cached_;
    streamed_ = cached_ = std::numeric_limits<double>::infinity();
  }

  /// The batch had so many slices, the same number at all members.
  void end_batch(std::uint64_t slices) { before_ += slices; }

 private:
  std::uint64_t place_of(std::uint64_t slice) const { return (before_ + slice) % kPeriod; }

  std::uint64_t before_ = 0;  ///< slices of earlier batches
  bool streams_ = false;
  double cached_ = std::numeric_limits<double>::infinity();  ///< of this trial
  double streamed_ = std::numeric_limits<double>::infinity();
};

}  // namespace ringleader::shm
