// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/p2p/segment_stream.h>

#include <ringleader/collectives/p2p/algorithm.h>
#include <ringleader/core/traffic.h>

#include <algorithm>

namespace ringleader::p2p {

Status SegmentStream::advance(std::int64_t limit) {
  limit = std::min(limit, segments_);
  const std::int64_t enough = completed_ + kWindow;  // work per call is bounded
  for (;;) {
    for (; posted_ < std::min(limit, completed_ + kWindow); ++posted_) {
      if (const Status status = post(posted_); !status.ok()) return status;
    }
    if (completed_ == posted_ || completed_ == enough) return Status();
    bool done = false;
    Message& oldest = in_flight_[static_cast<std::size_t>(completed_ % kWindow)];
    if (const Status status = endpoint_->test(oldest, done); !status.ok()) return status;
    if (!done) return Status();
    ++completed_;
  }
}

Status SegmentStream::post(std::int64_t index) {
  const SegmentMemory memory = locate_(index);
  Message& message = in_flight_[static_cast<std::size_t>(index % kWindow)];
  if (direction_ == Direction::receive) {
    return endpoint_->receive(peer_, tag_, memory.data, memory.bytes, message);
  }
  traffic_meter.sent(memory.bytes);
  return endpoint_->send(peer_, tag_, memory.data, memory.bytes, message);
}

SegmentStream contiguous_stream(const Context& context, SegmentStream::Direction direction,
                                int peer, std::byte* data, std::int64_t count) {
  const std::int64_t bytes = count * context.element_bytes();
  const std::int64_t segment = context.segment() * context.element_bytes();
  return SegmentStream(
      direction, *context.endpoint, peer, context.tag, (bytes + segment - 1) / segment,
      [=](std::int64_t i) {
        return SegmentMemory{data + i * segment, std::min(segment, bytes - i * segment)};
      });
}

}  // namespace ringleader::p2p
