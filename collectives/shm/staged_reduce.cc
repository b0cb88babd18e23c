// SPDX-License-Identifier: Apache-2.0
//
// The staged reduction, for tensors that only their owner can address. Slice i of the batch is part
// i of every member's share. For each slice, every member in turn
//
//   stages   the others' parts of its input            (P-1)/P n bytes copied
//   reduces  its own part from its tensor and P-1 stages into its tensor and its stage for results
//   takes    the others' parts of the result            (P-1)/P n bytes copied
//
//   loads and stores per member: 2 (P-1)/P n + (P+2)/P n + 2 (P-1)/P n, which for P = 2 is 4 n. All
//   except the first load and the last store of each tensor stay in the caches.
//
// In place is allowed: a part of the tensor is overwritten only after it has been staged, or by its
// reducer. reduce_scatter stops after the reduction. A member may be kStageSlices slices ahead of
// another.
//
// Stages are written through the caches or past them (store_choice.h).
#include <ringleader/collectives/kernels/pieces.h>
#include <ringleader/collectives/shm/collective.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

namespace ringleader::shm {
namespace {

using Clock = std::chrono::steady_clock;

class StagedReduce : public Way {
 public:
  StagedReduce(const Batch& batch, Channel& channel)
      : batch_(batch),
        channel_(channel),
        spec_(kernels::spec_of(batch)),
        part_(channel.part_bytes() / static_cast<std::int64_t>(size_of(batch.dtype))),
        shares_(channel.memory()),
        sources_(channel.memory()),
        outs_(channel.memory()) {
    for (int member = 0; member < channel_.size(); ++member) {
      auto [begin, end] = share_of(batch_.count(), channel_.size(), member);
      if (batch_.op == Op::reduce_scatter) {
        begin = block_begin(batch_.block_counts, member);
        end = block_begin(batch_.block_counts, member + 1);
      }
      shares_.push_back({begin, end});
      const auto parts = static_cast<std::uint64_t>((end - begin + part_ - 1) / part_);
      slices_ = std::max(slices_, parts);
    }
  }

  std::optional<Status> advance() override {
    if (taken_ < reduced_ && timed(taken_, [this] { return take(); })) report(taken_++);
    if (reduced_ < staged_ && timed(reduced_, [this] { return reduce(); })) ++reduced_;
    if (staged_ < slices_ && timed(staged_, [this] { return stage(); })) ++staged_;
    if (taken_ < slices_) return std::nullopt;
    channel_.stores().end_batch(slices_);
    for (int member = 0; member < channel_.size(); ++member) {
      channel_.end_stage(kInputs, member, slices_);
      channel_.end_stage(kResults, member, gathers() ? slices_ : 0);
    }
    return Status();
  }

 private:
  struct Range {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    std::int64_t count() const { return end - begin; }
  };

  bool gathers() const { return batch_.op == Op::allreduce; }

  /// The elements of the sequence that are a member's part of a slice.
  Range part_of(int member, std::uint64_t slice) const {
    const Range& share = shares_[static_cast<std::size_t>(member)];
    const std::int64_t begin =
        std::min(share.begin + static_cast<std::int64_t>(slice) * part_, share.end);
    return {begin, std::min(begin + part_, share.end)};
  }

  std::byte* staged_part(int owner, int member, std::uint64_t slice) const {
    return channel_.slice(kInputs, owner, slice) + member * channel_.part_bytes();
  }

  kernels::Stores stores(std::uint64_t slice) const {
    return channel_.stores().streams(slice) ? kernels::Stores::stream_copies
                                            : kernels::Stores::cached;
  }

  /// Runs one step of the work on the slice, and adds up the time of the steps that did something.
  template <typename Work>
  bool timed(std::uint64_t slice, Work work) {
    if (!channel_.stores().is_timed(slice)) return work();
    const auto begin = Clock::now();
    const bool done = work();
    if (done) spent_[slice % spent_.size()] += Clock::now() - begin;
    return done;
  }

  void report(std::uint64_t slice) {
    if (!channel_.stores().is_timed(slice)) return;
    std::int64_t elements = 0;
    for (int member = 0; member < channel_.size(); ++member) {
      elements += part_of(member, slice).count();
    }
    const std::chrono::duration<double> spent =
        std::exchange(spent_[slice % spent_.size()], Clock::duration(0));
    channel_.stores().took(slice, spent.count(),
                           elements * static_cast<std::int64_t>(size_of(batch_.dtype)));
  }

  bool stage() {
    if (!channel_.may_fill(kInputs, staged_)) return false;
    for (int member = 0; member < channel_.size(); ++member) {
      if (member == channel_.rank()) continue;
      const Range part = part_of(member, staged_);
      kernels::pack(batch_, part.begin, part.end, staged_part(channel_.rank(), member, staged_),
                    stores(staged_));
    }
    channel_.fill(kInputs, staged_);
    return true;
  }

  bool reduce() {
    const int own = channel_.rank();
    for (int member = 0; member < channel_.size(); ++member) {
      if (member != own && !channel_.filled(kInputs, member, reduced_)) return false;
    }
    if (gathers() && !channel_.may_fill(kResults, reduced_)) return false;
    const Range part = part_of(own, reduced_);
    std::int64_t done = 0;
    kernels::for_each_piece(batch_, part.begin, part.end,
                            [&](std::size_t t, std::int64_t offset, std::int64_t count) {
                              reduce_piece(batch_.tensors[t], offset, done, count);
                              done += count;
                            });
    if (gathers()) channel_.fill(kResults, reduced_);
    for (int member = 0; member < channel_.size(); ++member) {
      if (member != own) channel_.take(kInputs, member, reduced_ + 1);
    }
    return true;
  }

  /// Reduces a piece of a part; `done` elements of the part come before it.
  void reduce_piece(const BatchTensor& tensor, std::int64_t offset, std::int64_t done,
                    std::int64_t count) {
    const int own = channel_.rank();
    sources_.clear();
    for (int member = 0; member < channel_.size(); ++member) {
      sources_.push_back(member == own
                             ? kernels::at(tensor.input, offset, batch_.dtype)
                             : kernels::at(staged_part(member, own, reduced_), done, batch_.dtype));
    }
    outs_.clear();
    const std::int64_t before = gathers() ? 0 : shares_[static_cast<std::size_t>(own)].begin;
    outs_.push_back(kernels::at(tensor.output, offset - before, batch_.dtype));
    if (gathers()) {
      outs_.push_back(kernels::at(channel_.slice(kResults, own, reduced_), done, batch_.dtype));
    }
    kernels::reduce(spec_, sources_, outs_, count, stores(reduced_));
  }

  bool take() {
    if (!gathers()) return true;
    for (int member = 0; member < channel_.size(); ++member) {
      if (member != channel_.rank() && !channel_.filled(kResults, member, taken_)) return false;
    }
    for (int member = 0; member < channel_.size(); ++member) {
      if (member == channel_.rank()) continue;
      const Range part = part_of(member, taken_);
      kernels::unpack(batch_, part.begin, part.end, channel_.slice(kResults, member, taken_));
      channel_.take(kResults, member, taken_ + 1);
    }
    return true;
  }

  const Batch& batch_;
  Channel& channel_;
  kernels::ReduceSpec spec_;
  std::int64_t part_;  ///< elements
  List<Range> shares_;
  std::uint64_t slices_ = 0;
  std::uint64_t staged_ = 0;  ///< slices that this member has staged, reduced and taken
  std::uint64_t reduced_ = 0;
  std::uint64_t taken_ = 0;
  List<const void*> sources_;
  List<void*> outs_;
  std::array<Clock::duration, 2 * kStageSlices> spent_ = {};  ///< time spent on timed slices
};

}  // namespace

std::shared_ptr<Way> make_staged_reduce(const Batch& batch, Channel& channel) {
  return make_in<StagedReduce>(channel, batch, channel);
}

}  // namespace ringleader::shm
