// SPDX-License-Identifier: Apache-2.0
//
// The pipelined ring: reduce-scatter, then all-gather, around the ranks in order. For P = 3, each
// chunk written with the ranks summed in it:
//
//   step            rank 0 sends    rank 1 sends    rank 2 sends       to the next rank
//   0  reduce       chunk 0 (0)     chunk 1 (1)     chunk 2 (2)
//   1  reduce       chunk 2 (2,0)   chunk 0 (0,1)   chunk 1 (1,2)
//   2  gather       chunk 1 (all)   chunk 2 (all)   chunk 0 (all)
//   3  gather       chunk 0 (all)   chunk 1 (all)   chunk 2 (all)
//
// Time: 2 (P-1) alpha + 2 (P-1)/P n beta + (P-1)/P n gamma, optimal in bandwidth (P. Patarasuk,
// X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", 2009). Chunks
// are cut into segments, so that a segment travels while another is added up; a segment is sent on
// as soon as it has been received.
//
// Each chunk is summed in a different rotation of the ranks, so the bits depend on where the chunks
// are. share_exchange.cc sends the same number of bytes and sums by one tree.
#include <ringleader/collectives/p2p/algorithm.h>

#include <ringleader/collectives/kernels/pieces.h>
#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/collectives/p2p/segment_stream.h>

#include <algorithm>
#include <vector>

namespace ringleader::p2p {
namespace {

/// Elements that one advance() copies before the ring starts.
constexpr std::int64_t kElementsPerPoll = 1 << 18;

class RingAllreduce : public Algorithm {
 public:
  explicit RingAllreduce(const Context& context)
      : context_(context),
        spec_(kernels::spec_of(*context.batch)),
        count_(context.batch->count()),
        largest_chunk_(share_of(count_, context.size(), 0).second),
        segment_(std::clamp<std::int64_t>(largest_chunk_, 1, context.segment())),
        segments_per_chunk_(std::max<std::int64_t>(1, (largest_chunk_ + segment_ - 1) / segment_)),
        scratch_(context.buffers->take(kWindow * segment_ * context.element_bytes())),
        send_(SegmentStream::Direction::send, *context.endpoint, next(), context.tag, total(),
              [this](std::int64_t i) { return memory_of(chunk_sent(i / segments_per_chunk_), i); }),
        receive_(SegmentStream::Direction::receive, *context.endpoint, previous(), context.tag,
                 total(), [this](std::int64_t i) { return memory_received(i); }) {}

  std::optional<Status> advance() override {
    if (copied_ < count_) {
      copy_some();
      return std::nullopt;
    }
    if (const Status status = send_.advance(processed_ + segments_per_chunk_); !status.ok()) {
      return status;
    }
    // A scratch slot is free again once its segment has been processed. Memory that the gather
    // writes to must have been sent before.
    const std::int64_t limit =
        std::min(processed_ + kWindow, send_.completed() + reduce_steps() * segments_per_chunk_);
    if (const Status status = receive_.advance(limit); !status.ok()) return status;
    if (processed_ < receive_.completed()) process(processed_++);
    if (!send_.done() || processed_ < total()) return std::nullopt;
    return Status();
  }

  std::int64_t progress() const override {
    return copied_ + processed_ + send_.progress() + receive_.progress();
  }

 private:
  int next() const { return (context_.rank() + 1) % context_.size(); }
  int previous() const { return (context_.rank() + context_.size() - 1) % context_.size(); }
  std::int64_t reduce_steps() const { return context_.size() - 1; }
  std::int64_t total() const { return 2 * reduce_steps() * segments_per_chunk_; }

  /// The chunk that is sent in a step. The chunk received in a step is sent one step later.
  int chunk_sent(std::int64_t step) const {
    const std::int64_t size = context_.size();
    return static_cast<int>((((context_.rank() - step) % size) + size) % size);
  }

  /// Elements [begin, end) of segment `index` of a chunk.
  std::pair<std::int64_t, std::int64_t> range_of(int chunk, std::int64_t index) const {
    const auto [first, last] = share_of(count_, context_.size(), chunk);
    const std::int64_t offset = (index % segments_per_chunk_) * segment_;
    return {std::min(first + offset, last), std::min(first + offset + segment_, last)};
  }

  SegmentMemory memory_of(int chunk, std::int64_t index) const {
    const auto [begin, end] = range_of(chunk, index);
    return {kernels::at(context_.output, begin, spec_.dtype),
            (end - begin) * context_.element_bytes()};
  }

  std::byte* slot_of(std::int64_t index) {
    return scratch_.get() + (index % kWindow) * segment_ * context_.element_bytes();
  }

  SegmentMemory memory_received(std::int64_t index) {
    const std::int64_t step = index / segments_per_chunk_;
    SegmentMemory memory = memory_of(chunk_sent(step + 1), index);
    if (step < reduce_steps()) memory.data = slot_of(index);
    return memory;
  }

  void copy_some() {
    const std::int64_t end = std::min(copied_ + kElementsPerPoll, count_);
    kernels::load(spec_, kernels::at(context_.input, copied_, spec_.dtype),
                  kernels::at(context_.output, copied_, spec_.dtype), end - copied_);
    copied_ = end;
  }

  void process(std::int64_t index) {
    const std::int64_t step = index / segments_per_chunk_;
    if (step >= reduce_steps()) return;
    const auto [begin, end] = range_of(chunk_sent(step + 1), index);
    std::byte* target = kernels::at(context_.output, begin, spec_.dtype);
    kernels::combine(spec_.dtype, spec_.op, target, slot_of(index), end - begin);
    if (step == reduce_steps() - 1) kernels::finish(spec_, target, end - begin);
  }

  Context context_;
  kernels::ReduceSpec spec_;
  std::int64_t count_;
  std::int64_t largest_chunk_;  ///< elements
  std::int64_t segment_;        ///< elements
  std::int64_t segments_per_chunk_;
  kernels::BufferPool::Buffer scratch_;
  SegmentStream send_;
  SegmentStream receive_;
  std::int64_t copied_ = 0;
  std::int64_t processed_ = 0;  ///< segments received and added up
};

}  // namespace

std::unique_ptr<Algorithm> make_ring_allreduce(const Context& context) {
  return std::make_unique<RingAllreduce>(context);
}

}  // namespace ringleader::p2p
