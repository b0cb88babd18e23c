// SPDX-License-Identifier: Apache-2.0
//
// Algorithm: one collective in progress over point-to-point messages.
#pragma once

#include <ringleader/collectives/kernels/staging.h>
#include <ringleader/collectives/p2p/segment_stream.h>
#include <ringleader/collectives/p2p/transport.h>
#include <ringleader/core/batch.h>
#include <ringleader/core/status.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace ringleader::p2p {

/// Elements [begin, end) of a buffer.
struct Elements {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t count() const { return end - begin; }
  std::int64_t segments(std::int64_t segment) const { return (count() + segment - 1) / segment; }
  Elements segment_at(std::int64_t index, std::int64_t segment) const {
    const std::int64_t first = begin + index * segment;
    return {first, std::min(first + segment, end)};
  }
};

/// What every algorithm needs: the batch, contiguous memory for it (the tensor itself, or the
/// staging buffer of a fused batch), and a way to reach the other ranks.
struct Context {
  const Batch* batch = nullptr;
  const std::byte* input = nullptr;
  std::byte* output = nullptr;
  Endpoint* endpoint = nullptr;
  kernels::BufferPool* buffers = nullptr;  ///< for received data until it is added up
  int tag = 0;                             ///< first of kTagsPerBatch tags
  std::int64_t segment_bytes = 0;          ///< maximum bytes of one message

  int rank() const { return batch->group->rank; }
  int size() const { return batch->group->size(); }
  std::int64_t element_bytes() const { return static_cast<std::int64_t>(size_of(batch->dtype)); }

  /// Elements of one segment.
  std::int64_t segment() const {
    return std::max<std::int64_t>(1, segment_bytes / element_bytes());
  }
};

/// A stream of `count` elements in one piece of memory, to or from member `peer`.
SegmentStream contiguous_stream(const Context& context, SegmentStream::Direction direction,
                                int peer, std::byte* data, std::int64_t count);

constexpr int kTagsPerBatch = 2;

class Algorithm {
 public:
  virtual ~Algorithm() = default;

  /// Does a bounded amount of work. Returns the outcome once all of it is done.
  virtual std::optional<Status> advance() = 0;

  /// Segments handled so far, in any way; unchanged if advance() found nothing to do.
  virtual std::int64_t progress() const = 0;
};

/// Allreduce. The first two always sum by one tree over the ranks.
std::unique_ptr<Algorithm> make_everybody(const Context& context);
std::unique_ptr<Algorithm> make_share_exchange(const Context& context);  ///< also reduce_scatter
std::unique_ptr<Algorithm> make_ring_allreduce(const Context& context);
std::unique_ptr<Algorithm> make_halving_doubling(const Context& context);

std::unique_ptr<Algorithm> make_block_exchange(const Context& context);
std::unique_ptr<Algorithm> make_tree_broadcast(const Context& context);

}  // namespace ringleader::p2p
