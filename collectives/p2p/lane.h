// SPDX-License-Identifier: Apache-2.0
//
// Lane: an ordered stream of segments to or from one rank, with a few of them in flight. All
// algorithms of this folder are compositions of lanes; what makes one an algorithm is how far each
// lane may go, as a function of how far the others have got.
//
//   Lane send(Lane::Direction::send, endpoint, peer, tag, segments, locate);
//   send.advance(limit);              // may now send segments [0, limit)
//   send.completed();                 // segments whose memory may be reused
#pragma once

#include <ringleader/collectives/p2p/transport.h>
#include <ringleader/core/status.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

namespace ringleader::p2p {

/// The memory of one segment; it may be empty.
struct SegmentMemory {
  std::byte* data = nullptr;
  std::int64_t bytes = 0;
};

/// Where segment `index` of a lane lies. Called once per segment, when it is posted.
using Locate = std::function<SegmentMemory(std::int64_t index)>;

/// Segments in flight per lane: enough for one to travel while the next is prepared, few enough
/// that they stay in the cache.
constexpr std::int64_t kWindow = 4;

/// The limit of a lane that waits for no other.
constexpr std::int64_t kAllSegments = std::numeric_limits<std::int64_t>::max();

class Lane {
 public:
  enum class Direction : std::uint8_t { send, receive };

  Lane(Direction direction, Endpoint& endpoint, int peer, int tag, std::int64_t segments,
       Locate locate)
      : direction_(direction),
        endpoint_(&endpoint),
        peer_(peer),
        tag_(tag),
        segments_(segments),
        locate_(std::move(locate)) {}

  /// Completes what has travelled and posts what may travel: segments before `limit`, at most
  /// kWindow of them in flight. Does not block.
  Status advance(std::int64_t limit);

  std::int64_t completed() const { return completed_; }
  std::int64_t progress() const { return posted_ + completed_; }
  std::int64_t segments() const { return segments_; }
  bool done() const { return completed_ == segments_; }

 private:
  Status post(std::int64_t index);

  Direction direction_;
  Endpoint* endpoint_;
  int peer_;
  int tag_;
  std::int64_t segments_;
  Locate locate_;
  std::int64_t posted_ = 0;
  std::int64_t completed_ = 0;
  std::array<Message, kWindow> in_flight_;  ///< segment i at i % kWindow
};

inline std::int64_t progress_of(const std::vector<Lane>& lanes) {
  std::int64_t total = 0;
  for (const Lane& lane : lanes) total += lane.progress();
  return total;
}

}  // namespace ringleader::p2p
