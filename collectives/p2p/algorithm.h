// SPDX-License-Identifier: Apache-2.0
//
// Algorithm: one collective in progress over point-to-point messages.
#pragma once

#include <ringleader/collectives/kernels/staging.h>
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

/// What all algorithms need to know: the batch, contiguous memory for it (the tensor itself, or
/// the staging buffer of a fused batch), and how to reach the others.
struct Context {
  const Batch* batch = nullptr;
  const std::byte* input = nullptr;
  std::byte* output = nullptr;
  Endpoint* endpoint = nullptr;
  kernels::BufferPool* buffers = nullptr;  ///< for what an algorithm receives before it adds it up
  int tag = 0;                             ///< first of kTagsPerBatch tags
  std::int64_t segment_bytes = 0;          ///< most bytes of one message

  int rank() const { return batch->group->rank; }
  int size() const { return batch->group->size(); }
  std::int64_t element_bytes() const { return static_cast<std::int64_t>(size_of(batch->dtype)); }

  /// Elements of one segment.
  std::int64_t segment() const {
    return std::max<std::int64_t>(1, segment_bytes / element_bytes());
  }
};

constexpr int kTagsPerBatch = 2;

class Algorithm {
 public:
  virtual ~Algorithm() = default;

  /// Does a bounded amount of work; the outcome when all of it is done.
  virtual std::optional<Status> advance() = 0;

  /// Segments dealt with so far, in any way: unchanged if advance() found nothing to do.
  virtual std::int64_t progress() const = 0;
};

/// Allreduce; the first two sum by one tree over the ranks, whatever else.
std::unique_ptr<Algorithm> make_everybody(const Context& context);
std::unique_ptr<Algorithm> make_share_exchange(const Context& context);  ///< also reduce_scatter
std::unique_ptr<Algorithm> make_ring_allreduce(const Context& context);
std::unique_ptr<Algorithm> make_halving_doubling(const Context& context);

std::unique_ptr<Algorithm> make_block_exchange(const Context& context);
std::unique_ptr<Algorithm> make_tree_broadcast(const Context& context);

}  // namespace ringleader::p2p
