// SPDX-License-Identifier: Apache-2.0
//
// The direct reduction, for tensors that all members can address. A chunk is loaded from all
// inputs, summed in registers, and stored to all outputs:
//
//   member 0's share | chunk 0 | chunk 1 | ... |      claimed one by one: first by the owner,
//   member 1's share | chunk 0 | chunk 1 | ... |      then by members done with their own share
//
//   bytes per node: 2 P n for P members of n bytes each, which is the minimum: every input is read
//   once and every output written once. Two synchronizations, however many tensors.
//
// Taking over chunks matters when a member is not running: with more ranks than cores, or while its
// program computes. The bits of a chunk do not depend on who reduces it.
//
// reduce_scatter works the same way, with the blocks as shares, each stored only to its owner's
// output. Nobody takes over chunks, because the others may not be able to address that output.
#include <ringleader/collectives/kernels/pieces.h>
#include <ringleader/collectives/shm/collective.h>

#include <algorithm>
#include <utility>

namespace ringleader::shm {
namespace {

/// Elements [begin, end) of the sequence of tensors, cut into chunks.
struct Share {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t chunks = 0;
};

class DirectReduce : public Way {
 public:
  DirectReduce(const Batch& batch, Channel& channel, std::uint64_t number, Addresses addresses)
      : batch_(batch),
        channel_(channel),
        number_(number),
        addresses_(std::move(addresses)),
        element_bytes_(static_cast<std::int64_t>(size_of(batch.dtype))),
        chunk_(std::max<std::int64_t>(1, kChunkBytes / element_bytes_)),
        shares_(channel.memory()),
        sources_(channel.memory()),
        outs_(channel.memory()) {
    for (int member = 0; member < channel_.size(); ++member) shares_.push_back(share_of(member));
    const bool in_place =
        std::all_of(batch_.tensors.begin(), batch_.tensors.end(),
                    [](const BatchTensor& tensor) { return tensor.input == tensor.output; });
    const bool streams = !in_place && batch_.count() * element_bytes_ >= channel.streaming_bytes();
    stores_ = streams ? kernels::Stores::streaming : kernels::Stores::cached;
  }

  std::optional<Status> advance() override {
    if (reduce_one_chunk()) return std::nullopt;
    if (!finished_ && !all_chunks_done()) return std::nullopt;
    if (!std::exchange(finished_, true)) channel_.finish(number_);
    // In an allreduce, all inputs have been read once all chunks are done. In a reduce_scatter, the
    // others may still be reading this member's input.
    if (!gives_to_all() && !channel_.all_finished(number_)) return std::nullopt;
    return Status();
  }

 private:
  bool gives_to_all() const { return batch_.op == Op::allreduce; }

  Share share_of(int member) const {
    Share share;
    if (gives_to_all()) {
      // Shares begin on cache lines if the first tensor does.
      const std::int64_t line = static_cast<std::int64_t>(kCacheLine) / element_bytes_;
      const std::int64_t lines = (batch_.count() + line - 1) / line;
      const auto [first, last] = ringleader::share_of(lines, channel_.size(), member);
      share = {std::min(first * line, batch_.count()), std::min(last * line, batch_.count())};
    } else {
      share.begin = block_begin(batch_.block_counts, member);
      share.end = block_begin(batch_.block_counts, member + 1);
    }
    share.chunks = (share.end - share.begin + chunk_ - 1) / chunk_;
    return share;
  }

  /// Returns false if no chunk is left that this member may reduce.
  bool reduce_one_chunk() {
    const int takeable = gives_to_all() ? channel_.size() : 1;
    for (; looking_at_ < takeable; ++looking_at_) {
      const int owner = (channel_.rank() + looking_at_) % channel_.size();
      const Share& share = shares_[static_cast<std::size_t>(owner)];
      Slot& slot = channel_.slot(owner, number_);
      // This decides only who gets which chunk; the contents were published before.
      const std::int64_t chunk =
          share.chunks == 0 ? 0 : slot.claimed.fetch_add(1, std::memory_order_relaxed);
      if (chunk >= share.chunks) continue;
      const std::int64_t begin = share.begin + chunk * chunk_;
      reduce(begin, std::min(begin + chunk_, share.end));
      channel_.note_work();
      slot.done.fetch_add(1, std::memory_order_release);  // acquired in all_chunks_done()
      return true;
    }
    return false;
  }

  bool all_chunks_done() const {
    if (!gives_to_all()) return true;
    for (int member = 0; member < channel_.size(); ++member) {
      const std::int64_t done = channel_.slot(member, number_).done.load(std::memory_order_acquire);
      if (done < shares_[static_cast<std::size_t>(member)].chunks) return false;
    }
    return true;
  }

  void reduce(std::int64_t begin, std::int64_t end) {
    const kernels::ReduceSpec spec = kernels::spec_of(batch_);
    kernels::for_each_piece(
        batch_, begin, end, [&](std::size_t t, std::int64_t offset, std::int64_t count) {
          const std::int64_t at = offset * element_bytes_;
          sources_.clear();
          outs_.clear();
          const std::size_t tensors = batch_.tensors.size();
          for (std::size_t i = t; i < addresses_.inputs.size(); i += tensors) {
            sources_.push_back(addresses_.inputs[i] + at);
            if (gives_to_all()) outs_.push_back(addresses_.outputs[i] + at);
          }
          if (!gives_to_all()) {
            const Share& own = shares_[static_cast<std::size_t>(channel_.rank())];
            outs_.push_back(
                kernels::at(batch_.tensors[0].output, offset - own.begin, batch_.dtype));
          }
          kernels::reduce(spec, sources_, outs_, count, stores_);
        });
  }

  const Batch& batch_;
  Channel& channel_;
  std::uint64_t number_;
  Addresses addresses_;
  std::int64_t element_bytes_;
  std::int64_t chunk_;  ///< elements
  kernels::Stores stores_;
  List<Share> shares_;
  int looking_at_ = 0;  ///< members whose shares are known to be fully claimed
  bool finished_ = false;
  List<const void*> sources_;
  List<void*> outs_;
};

}  // namespace

std::shared_ptr<Way> make_direct_reduce(const Batch& batch, Channel& channel, std::uint64_t number,
                                        Addresses addresses) {
  return make_in<DirectReduce>(channel, batch, channel, number, std::move(addresses));
}

}  // namespace ringleader::shm
