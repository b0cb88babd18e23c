// SPDX-License-Identifier: Apache-2.0
//
// Broadcast down a binomial tree, segment by segment. Ranks are numbered from the root. Rank v
// receives from the rank whose number is v with its lowest set bit cleared, and sends to v + b for
// each lower bit b:
//
//   P = 8:   0 -> 4, 2, 1     2 -> 3     4 -> 6, 5     6 -> 7
//
// Time: ceil(log2 P) (alpha + s beta) + (n - s) beta log2 P at the root, s bytes per segment.
#include <ringleader/collectives/p2p/algorithm.h>

#include <ringleader/collectives/kernels/pieces.h>
#include <ringleader/collectives/p2p/segment_stream.h>

#include <algorithm>
#include <bit>
#include <vector>

namespace ringleader::p2p {
namespace {

class TreeBroadcast : public Algorithm {
 public:
  explicit TreeBroadcast(const Context& context) : context_(context) {
    const auto place = static_cast<unsigned>(
        (context_.rank() - context_.batch->root + context_.size()) % context_.size());
    unsigned bit = std::bit_ceil(static_cast<unsigned>(context_.size()));
    if (place != 0) {
      bit = place & -place;
      streams_.push_back(
          make_stream(SegmentStream::Direction::receive, place - bit, context_.output));
    }
    for (bit /= 2; bit > 0; bit /= 2) {
      if (place + bit >= static_cast<unsigned>(context_.size())) continue;
      // Sending does not write to it.
      std::byte* source = place == 0 ? const_cast<std::byte*>(context_.input) : context_.output;
      streams_.push_back(make_stream(SegmentStream::Direction::send, place + bit, source));
    }
    is_root_ = place == 0;
  }

  std::optional<Status> advance() override {
    std::int64_t limit = kAllSegments;
    bool done = true;
    for (std::size_t i = 0; i < streams_.size(); ++i) {
      if (const Status status = streams_[i].advance(limit); !status.ok()) return status;
      if (!is_root_ && i == 0) limit = streams_[0].completed();  // only what has arrived is sent on
      done = done && streams_[i].done();
    }
    if (!done) return std::nullopt;
    if (is_root_) {
      kernels::copy_elements(context_.input, context_.output, context_.batch->count(),
                             context_.batch->dtype);
    }
    return Status();
  }

  std::int64_t progress() const override { return progress_of(streams_); }

 private:
  SegmentStream make_stream(SegmentStream::Direction direction, unsigned place,
                            std::byte* data) const {
    const int peer = (static_cast<int>(place) + context_.batch->root) % context_.size();
    return contiguous_stream(context_, direction, peer, data, context_.batch->count());
  }

  Context context_;
  std::vector<SegmentStream> streams_;
  bool is_root_ = false;
};

}  // namespace

std::unique_ptr<Algorithm> make_tree_broadcast(const Context& context) {
  return std::make_unique<TreeBroadcast>(context);
}

}  // namespace ringleader::p2p
