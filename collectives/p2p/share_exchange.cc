// SPDX-License-Identifier: Apache-2.0
//
// Direct exchange of shares. Each rank owns a share of the elements, gets it from all others, sums
// it by one tree, rounds once, and (allreduce) sends the result to all others:
//
//   exchange   rank i sends share j of its input to rank j            (P-1)/P n bytes per rank
//   reduce     rank j: share j = ((0 + 1) + (2 + 3)) + ...
//   gather     rank j sends share j of the result to all              (P-1)/P n bytes per rank
//
// Time: 2 alpha (with P-1 messages each) + 2 (P-1)/P n beta + (P-1)/P n gamma: as many bytes as a
// ring in fewer steps, and the same bits however the elements were cut and fused. This is the
// reduce-scatter and allgather by direct exchange of E. Chan et al., "Collective communication:
// theory, practice, and experience", 2007.
//
// Two variants use the same code: reduce_scatter stops after the reduction, and make_everybody()
// lets every rank own everything, which needs one message per pair instead of two.
#include <ringleader/collectives/p2p/algorithm.h>

#include <ringleader/collectives/kernels/pieces.h>
#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/collectives/p2p/segment_stream.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace ringleader::p2p {
namespace {

class ShareExchange : public Algorithm {
 public:
  ShareExchange(const Context& context, std::vector<Elements> shares, bool gather,
                std::byte* own_output, std::int64_t segment_max)
      : context_(context),
        spec_(kernels::spec_of(*context.batch)),
        shares_(std::move(shares)),
        own_output_(own_output),
        segment_(
            std::clamp<std::int64_t>(longest_share(), 1, std::max<std::int64_t>(1, segment_max))),
        slots_(std::min(kWindow, (longest_share() + segment_ - 1) / segment_)),
        slot_bytes_(segment_ * context.element_bytes()),
        scratch_(context.buffers->take(slots_ * context.size() * slot_bytes_)) {
    sources_.resize(static_cast<std::size_t>(context_.size()));
    peers_.reserve(static_cast<std::size_t>(context_.size() - 1));
    // Each rank begins with its successor, so that they do not all send to the same rank.
    for (int step = 1; step < context_.size(); ++step) {
      peers_.push_back(make_peer((context_.rank() + step) % context_.size(), gather));
    }
  }

  std::optional<Status> advance() override {
    bool sent = true;
    for (Peer& peer : peers_) {
      if (const Status status = peer.exchange_send.advance(kAllSegments); !status.ok())
        return status;
      const Status received = peer.exchange_receive.advance(reduced_ + kWindow);
      if (!received.ok()) return received;
      sent = sent && peer.exchange_send.done();
    }
    // In place, a rank that owns everything overwrites what it sends.
    const bool may_write = !overlapping() || sent;
    if (reduced_ < segments_of(context_.rank()) && segment_arrived() && may_write) {
      reduce_segment(reduced_++);
    }
    bool done = sent && reduced_ == segments_of(context_.rank());
    for (Peer& peer : peers_) {
      if (const Status status = peer.gather_send.advance(reduced_); !status.ok()) return status;
      // In place, the result overwrites an input that must have been sent before.
      const Status received = peer.gather_receive.advance(peer.exchange_send.completed());
      if (!received.ok()) return received;
      done = done && peer.gather_send.done() && peer.gather_receive.done();
    }
    if (!done) return std::nullopt;
    return Status();
  }

  std::int64_t progress() const override {
    std::int64_t total = reduced_;
    for (const Peer& peer : peers_) {
      total += peer.exchange_send.progress() + peer.exchange_receive.progress() +
               peer.gather_send.progress() + peer.gather_receive.progress();
    }
    return total;
  }

 private:
  struct Peer {
    int rank = 0;
    SegmentStream exchange_send;
    SegmentStream exchange_receive;
    SegmentStream gather_send;
    SegmentStream gather_receive;
  };

  Peer make_peer(int rank, bool gather) {
    const std::int64_t own = segments_of(context_.rank());
    const std::int64_t theirs = segments_of(rank);
    const auto stream = [&](SegmentStream::Direction direction, int phase, std::int64_t segments,
                            Locate locate) {
      return SegmentStream(direction, *context_.endpoint, rank, context_.tag + phase, segments,
                           std::move(locate));
    };
    using enum SegmentStream::Direction;
    return {
        rank,
        stream(send, 0, theirs,
               [this, rank](std::int64_t i) {
                 // Sending does not write to it.
                 return memory_in(const_cast<std::byte*>(context_.input), rank, i);
               }),
        stream(receive, 0, own,
               [this, rank](std::int64_t i) {
                 const auto [begin, end] = range_of(context_.rank(), i);
                 return SegmentMemory{slot_of(rank, i), (end - begin) * context_.element_bytes()};
               }),
        stream(send, 1, gather ? own : 0,
               [this](std::int64_t i) { return memory_in(context_.output, context_.rank(), i); }),
        stream(receive, 1, gather ? theirs : 0,
               [this, rank](std::int64_t i) { return memory_in(context_.output, rank, i); })};
  }

  std::int64_t longest_share() const {
    std::int64_t longest = 0;
    for (const Elements& share : shares_) longest = std::max(longest, share.count());
    return longest;
  }

  std::int64_t segments_of(int rank) const {
    return shares_[static_cast<std::size_t>(rank)].segments(segment_);
  }

  Elements range_of(int rank, std::int64_t index) const {
    return shares_[static_cast<std::size_t>(rank)].segment_at(index, segment_);
  }

  SegmentMemory memory_in(std::byte* buffer, int rank, std::int64_t index) const {
    const auto [begin, end] = range_of(rank, index);
    return {kernels::at(buffer, begin, spec_.dtype), (end - begin) * context_.element_bytes()};
  }

  std::byte* slot_of(int rank, std::int64_t index) {
    return scratch_.get() + ((index % slots_) * context_.size() + rank) * slot_bytes_;
  }

  bool segment_arrived() const {
    return std::all_of(peers_.begin(), peers_.end(), [this](const Peer& peer) {
      return peer.exchange_receive.completed() > reduced_;
    });
  }

  /// True if the result overwrites input that others have yet to receive.
  bool overlapping() const {
    return context_.input == context_.output && context_.size() > 1 &&
           shares_[0].begin == shares_[1].begin && shares_[0].end > shares_[0].begin;
  }

  void reduce_segment(std::int64_t index) {
    const auto [begin, end] = range_of(context_.rank(), index);
    for (int rank = 0; rank < context_.size(); ++rank) {
      sources_[static_cast<std::size_t>(rank)] =
          rank == context_.rank() ? kernels::at(context_.input, begin, spec_.dtype)
                                  : slot_of(rank, index);
    }
    std::byte* out = own_output_ + index * slot_bytes_;
    kernels::reduce(spec_, sources_, out, end - begin);
  }

  Context context_;
  kernels::ReduceSpec spec_;
  std::vector<Elements> shares_;
  std::byte* own_output_;  ///< where this rank's share of the result begins
  std::int64_t segment_;   ///< elements
  std::int64_t slots_;     ///< segments received at once from each rank
  std::int64_t slot_bytes_;
  kernels::BufferPool::Buffer scratch_;
  std::vector<const void*> sources_;  ///< of the segment being reduced, by rank
  std::vector<Peer> peers_;
  std::int64_t reduced_ = 0;  ///< segments of this rank's share that are done
};

}  // namespace

std::unique_ptr<Algorithm> make_share_exchange(const Context& context) {
  const Batch& batch = *context.batch;
  std::vector<Elements> shares;
  if (batch.op == Op::reduce_scatter) {
    std::int64_t begin = 0;
    for (const std::int64_t block : batch.block_counts) {
      shares.push_back({begin, begin + block});
      begin += block;
    }
    return std::make_unique<ShareExchange>(context, std::move(shares), false, context.output,
                                           context.segment());
  }
  for (int rank = 0; rank < context.size(); ++rank) {
    const auto [begin, end] = share_of(batch.count(), context.size(), rank);
    shares.push_back({begin, end});
  }
  const std::int64_t own = shares[static_cast<std::size_t>(context.rank())].begin;
  return std::make_unique<ShareExchange>(context, std::move(shares), true,
                                         kernels::at(context.output, own, batch.dtype),
                                         context.segment());
}

std::unique_ptr<Algorithm> make_everybody(const Context& context) {
  // In one segment: in place, nothing may be reduced before everything has been sent, so with
  // several segments the ranks could wait for each other to receive.
  const std::int64_t count = context.batch->count();
  std::vector<Elements> shares(static_cast<std::size_t>(context.size()), {0, count});
  return std::make_unique<ShareExchange>(context, std::move(shares), false, context.output, count);
}

}  // namespace ringleader::p2p
