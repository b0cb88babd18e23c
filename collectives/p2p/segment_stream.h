// SPDX-License-Identifier: Apache-2.0
//
// SegmentStream: an ordered stream of segments to or from one rank, with a few of them in flight.
// All algorithms in this folder are compositions of streams. An algorithm is defined by how far
// each stream may go, as a function of how far the others have got.
//
//   SegmentStream send(SegmentStream::Direction::send, endpoint, peer, tag, segments, locate);
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

/// Returns the memory of segment `index` of a stream. Called once per segment, when it is posted.
using Locate = std::function<SegmentMemory(std::int64_t index)>;

/// Segments in flight per stream: enough for one to travel while the next is prepared, few enough
/// that they stay in the cache.
constexpr std::int64_t kWindow = 4;

/// The limit of a stream that waits for no other.
constexpr std::int64_t kAllSegments = std::numeric_limits<std::int64_t>::max();

class SegmentStream {
 public:
  enum class Direction : std::uint8_t { send, receive };

  SegmentStream(Direction direction, Endpoint& endpoint, int peer, int tag, std::int64_t segments,
                Locate locate)
      : direction_(direction),
        endpoint_(&endpoint),
        peer_(peer),
        tag_(tag),
        segments_(segments),
        locate_(std::move(locate)) {}

  /// Completes the segments that have been transferred and posts further ones before `limit`, with
  /// at most kWindow in flight. Does not block.
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

inline std::int64_t progress_of(const std::vector<SegmentStream>& streams) {
  std::int64_t total = 0;
  for (const SegmentStream& stream : streams) total += stream.progress();
  return total;
}

}  // namespace ringleader::p2p
