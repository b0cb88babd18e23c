// SPDX-License-Identifier: Apache-2.0
//
// allgather, alltoall and exchange: every rank sends every other rank its block, directly.
//
//   allgather   the same block to all; time alpha + (P-1) n_block beta, the bandwidth optimum
//   alltoall    a different block to each
//   exchange    a block to one of them
#include <ringleader/collectives/p2p/algorithm.h>

#include <ringleader/collectives/kernels/pieces.h>
#include <ringleader/collectives/p2p/segment_stream.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace ringleader::p2p {
namespace {

class BlockExchange : public Algorithm {
 public:
  explicit BlockExchange(const Context& context) : context_(context) {
    const Batch& batch = *context_.batch;
    // Each rank begins with its successor, so that they do not all send to the same rank.
    for (int step = 1; step < context_.size(); ++step) {
      const int peer = (context_.rank() + step) % context_.size();
      const auto [send_begin, send_count] = block_sent(peer);
      const auto [receive_begin, receive_count] = block_received(peer);
      // Sending does not write to it.
      auto* const sent =
          const_cast<std::byte*>(kernels::at(context_.input, send_begin, batch.dtype));
      std::byte* const received = kernels::at(context_.output, receive_begin, batch.dtype);
      if (send_count > 0) {
        streams_.push_back(
            contiguous_stream(context_, SegmentStream::Direction::send, peer, sent, send_count));
      }
      if (receive_count > 0) {
        streams_.push_back(contiguous_stream(context_, SegmentStream::Direction::receive, peer,
                                             received, receive_count));
      }
    }
  }

  std::optional<Status> advance() override {
    bool done = true;
    for (SegmentStream& stream : streams_) {
      const Status status = stream.advance(kAllSegments);
      if (!status.ok()) return status;
      done = done && stream.done();
    }
    if (!done) return std::nullopt;
    copy_own_block();
    return Status();
  }

  std::int64_t progress() const override { return progress_of(streams_); }

 private:
  using Block = std::pair<std::int64_t, std::int64_t>;  ///< first element, count

  static Block block(const std::vector<std::int64_t>& counts, int index) {
    return {block_begin(counts, index), counts[static_cast<std::size_t>(index)]};
  }

  Block block_sent(int peer) const {
    const Batch& batch = *context_.batch;
    if (batch.op != Op::allgather) return block(batch.send_counts, peer);
    return {0, batch.tensors[0].count};
  }

  Block block_received(int peer) const { return block(context_.batch->block_counts, peer); }

  void copy_own_block() const {
    const DType dtype = context_.batch->dtype;
    const auto [from, count] = block_sent(context_.rank());
    const auto [to, same_count] = block_received(context_.rank());
    kernels::copy_elements(kernels::at(context_.input, from, dtype),
                           kernels::at(context_.output, to, dtype), count, dtype);
  }

  Context context_;
  std::vector<SegmentStream> streams_;
};

}  // namespace

std::unique_ptr<Algorithm> make_block_exchange(const Context& context) {
  return std::make_unique<BlockExchange>(context);
}

}  // namespace ringleader::p2p
