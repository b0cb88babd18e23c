// SPDX-License-Identifier: Apache-2.0
//
// Recursive halving, then doubling. Of P = 4, what ranks 0 and 1 hold of the quarters a b c d:
//
//   rank 0   abcd -> ab of 0,2 -> a of all -> ab of all -> abcd of all
//   rank 1   abcd -> ab of 1,3 -> b of all -> ab of all -> abcd of all
//
// Time: 2 log2 P alpha + 2 (P-1)/P n beta + (P-1)/P n gamma (R. Thakur, R. Rabenseifner, W. Gropp,
// "Optimization of collective communication operations in MPICH", 2005). If P is no power of two,
// the first 2 r ranks, r what P is more than one, form pairs; of each the even rank hands its
// elements to the odd one before and gets the result after.
//
// Every element is summed by the same tree of ranks, though not by that of kernels/reduce.h.
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
  bool adds = false;      ///< what is received is added to what is there
  bool finishes = false;  ///< after it, what was received is the sum of all ranks
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
    // Not all of a large batch in one advance(), but this is not for large ones.
    const std::byte* source = kernels::at(context_.input, 0, spec_.dtype);
    if (spec_.prescale != 1.0) {
      kernels::prescale(spec_, source, context_.output, count_);
    } else {
      kernels::copy_elements(source, context_.output, count_, spec_.dtype);
    }
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

  /// Among a power of two of ranks, which are numbered without the even ones of the pairs.
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

  /// Begins the stage that is due.
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
  std::vector<SegmentStream> streams_;  ///< of the stage: sends, receives
  std::int64_t added_ = 0;              ///< segments of the stage
  std::int64_t past_ = 0;               ///< progress of the stages before
};

}  // namespace

std::unique_ptr<Algorithm> make_halving_doubling(const Context& context) {
  return std::make_unique<HalvingDoubling>(context);
}

}  // namespace ringleader::p2p
