// SPDX-License-Identifier: Apache-2.0
//
// Recursive halving, then doubling. For P = 4, what ranks 0 and 1 hold of the quarters a b c d:
//
//   rank 0   abcd -> ab of 0,2 -> a of all -> ab of all -> abcd of all
//   rank 1   abcd -> ab of 1,3 -> b of all -> ab of all -> abcd of all
//
// Time: 2 log2 P alpha + 2 (P-1)/P n beta + (P-1)/P n gamma (R. Thakur, R. Rabenseifner, W. Gropp,
// "Optimization of collective communication operations in MPICH", 2005). If P exceeds a power of
// two by r, the first 2 r ranks form pairs. The even rank of each pair sends its elements to the
// odd one before, and gets the result after.
//
// The same tree of ranks sums every element, but it is not the tree of kernels/reduce.h.
#include <ringleader/collectives/p2p/algorithm.h>

#include <ringleader/collectives/kernels/pieces.h>
#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/collectives/p2p/segment_stream.h>

#include <algorithm>
#include <bit>
#include <utility>
#include <vector>

namespace ringleader::p2p {
namespace {

/// One exchange with one other rank.
struct Stage {
  int peer = 0;
  Elements sent;
  Elements received;
  bool adds = false;      ///< received elements are added to those that are there
  bool finishes = false;  ///< after it, the received elements are sums over all ranks
};

class HalvingDoubling : public Algorithm {
 public:
  explicit HalvingDoubling(const Context& context)
      : context_(context),
        spec_(kernels::spec_of(*context.batch)),
        count_(context.batch->count()),
        segment_(std::clamp<std::int64_t>(count_, 1, context.segment())),
        scratch_(context.buffers->take(kWindow * segment_ * context.element_bytes())) {
    plan();
    // This copies the whole batch at once. A large batch would need several steps, but this
    // algorithm is not for large ones.
    kernels::load(spec_, context_.input, context_.output, count_);
    enter();
  }

  std::optional<Status> advance() override {
    if (stage_ == stages_.size()) return Status();
    const Stage& stage = stages_[stage_];
    if (const Status status = streams_[0].advance(kAllSegments); !status.ok()) return status;
    const Status received = streams_[1].advance(stage.adds ? added_ + kWindow : kAllSegments);
    if (!received.ok()) return received;
    if (stage.adds && added_ < streams_[1].completed()) add(stage, added_++);
    const bool added = !stage.adds || added_ == streams_[1].segments();
    if (!streams_[0].done() || !streams_[1].done() || !added) return std::nullopt;
    if (stage.finishes) {
      kernels::finish(spec_, at(stage.received.begin), stage.received.count());
    }
    ++stage_;
    enter();
    return stage_ == stages_.size() ? std::optional(Status()) : std::nullopt;
  }

  std::int64_t progress() const override {
    return past_ + added_ + progress_of(streams_) + static_cast<std::int64_t>(stage_);
  }

 private:
  void plan() {
    const int paired =
        context_.size() - static_cast<int>(std::bit_floor(static_cast<unsigned>(context_.size())));
    const int rank = context_.rank();
    const Elements all = {0, count_};
    const bool in_pair = rank < 2 * paired;
    if (in_pair && rank % 2 == 0) {
      stages_.push_back({rank + 1, all, {}, false, false});
      stages_.push_back({rank + 1, {}, all, false, false});
      return;
    }
    if (in_pair) stages_.push_back({rank - 1, {}, all, true, false});
    halve_and_double(paired);
    if (in_pair) stages_.push_back({rank - 1, all, {}, false, false});
  }

  /// Runs among a power of two of ranks, which are numbered without the even ranks of the pairs.
  void halve_and_double(int paired) {
    const int size = context_.size() - paired;
    const int own = context_.rank() < 2 * paired ? context_.rank() / 2 : context_.rank() - paired;
    const auto rank_of = [paired](int number) {
      return number < paired ? 2 * number + 1 : number + paired;
    };
    const auto blocks = [&](int first, int last) {
      return Elements{share_of(count_, size, first).first, share_of(count_, size, last - 1).second};
    };
    std::vector<Stage> doubling;
    for (int half = size / 2; half >= 1; half /= 2) {
      const int kept = own / half * half;  // blocks [kept, kept + half) stay with this rank
      const int given = kept ^ half;
      const int peer = rank_of(own ^ half);
      const Elements mine = blocks(kept, kept + half);
      const Elements theirs = blocks(given, given + half);
      stages_.push_back({peer, theirs, mine, true, half == 1});
      doubling.push_back({peer, mine, theirs, false, false});
    }
    stages_.insert(stages_.end(), doubling.rbegin(), doubling.rend());
  }

  /// Begins the current stage.
  void enter() {
    past_ += added_ + progress_of(streams_);
    streams_.clear();
    added_ = 0;
    if (stage_ == stages_.size()) return;
    const Stage& stage = stages_[stage_];
    streams_.push_back(make_stream(SegmentStream::Direction::send, stage.peer, stage.sent, false));
    streams_.push_back(
        make_stream(SegmentStream::Direction::receive, stage.peer, stage.received, stage.adds));
  }

  SegmentStream make_stream(SegmentStream::Direction direction, int peer, Elements elements,
                            bool to_scratch) {
    return SegmentStream(direction, *context_.endpoint, peer, context_.tag,
                         elements.segments(segment_), [this, elements, to_scratch](std::int64_t i) {
                           const auto [begin, end] = elements.segment_at(i, segment_);
                           return SegmentMemory{to_scratch ? slot_of(i) : at(begin),
                                                (end - begin) * context_.element_bytes()};
                         });
  }

  void add(const Stage& stage, std::int64_t index) {
    const auto [begin, end] = stage.received.segment_at(index, segment_);
    kernels::combine(spec_.dtype, spec_.op, at(begin), slot_of(index), end - begin);
  }

  std::byte* at(std::int64_t element) const {
    return kernels::at(context_.output, element, spec_.dtype);
  }
  std::byte* slot_of(std::int64_t index) const {
    return scratch_.get() + (index % kWindow) * segment_ * context_.element_bytes();
  }

  Context context_;
  kernels::ReduceSpec spec_;
  std::int64_t count_;
  std::int64_t segment_;  ///< elements
  kernels::BufferPool::Buffer scratch_;
  std::vector<Stage> stages_;
  std::size_t stage_ = 0;
  std::vector<SegmentStream> streams_;  ///< of the current stage: sends, receives
  std::int64_t added_ = 0;              ///< segments added in the current stage
  std::int64_t past_ = 0;               ///< progress of the earlier stages
};

}  // namespace

std::unique_ptr<Algorithm> make_halving_doubling(const Context& context) {
  return std::make_unique<HalvingDoubling>(context);
}

}  // namespace ringleader::p2p
