// SPDX-License-Identifier: Apache-2.0
//
// Broadcast, allgather, alltoall and exchange: every member with input publishes where the input
// is, and every member fetches its part:
//
//   in the slot    up to 8 KiB      copied twice, one synchronization
//   in a segment   at its offsets   copied once; the owner waits until all have fetched it
//   elsewhere      staged           copied twice, in slices that stay in the caches
//
// Each member's input is one sequence of bytes: its tensors, one after another. The part that
// another member fetches is an interval of it: all of it (broadcast, allgather) or a block
// (alltoall and exchange, where the owner publishes where each block begins).
#include <ringleader/collectives/kernels/pieces.h>
#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/collectives/shm/collective.h>

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace ringleader::shm {
namespace {

class Move : public Collective {
 public:
  Move(const Batch& batch, Channel& channel, std::uint64_t number)
      : Collective(batch, channel, number),
        slice_bytes_(channel.part_bytes() * channel.size()),
        origins_(channel.memory()),
        tensors_(channel.memory()) {}

  void publish(Slot& slot) override {
    List<std::int64_t> list = block_begins();
    const std::int64_t input_bytes = has_input(rank()) ? bytes() : 0;
    slot.source = has_input(rank()) ? Source::staged : Source::none;
    if (input_bytes > 0 && input_bytes <= kSmallBytes) {
      slot.source = Source::in_slot;
      kernels::pack(batch_, 0, batch_.count(), slot.data.data());
    } else if (input_bytes > 0 && add_offsets(list)) {
      slot.source = Source::addressed;
    }
    if (!put_list(slot, list)) slot.entries = -1;  // which is an error for all members
  }

  std::optional<Status> advance() override {
    if (origins_.empty()) {
      if (Status status = look_up(); !status.ok()) return status;
    }
    stage_one();
    std::int64_t budget = kChunkBytes * 2;
    for (int i = 0; i < size() && budget > 0; ++i) budget -= fetch((rank() + i) % size(), budget);
    const bool fetched = std::all_of(origins_.begin(), origins_.end(), [](const Origin& origin) {
      return origin.position == origin.end;
    });
    if (!fetched || staged_ < slices_of(origin(rank()))) return std::nullopt;
    if (!std::exchange(finished_, true)) finish();
    if (origin(rank()).source == Source::addressed && !channel_.all_finished(number_)) {
      return std::nullopt;
    }
    return Status();
  }

 private:
  /// A member's input as this member sees it. Positions are byte offsets in its sequence.
  struct Origin {
    Source source = Source::none;
    std::int64_t bytes = 0;  ///< of the whole sequence
    std::int64_t begin = 0;  ///< this member's part: [begin, end)
    std::int64_t end = 0;
    std::int64_t position = 0;  ///< how far it has been fetched
    std::size_t tensors = 0;    ///< if addressed: index of its first tensor in tensors_
  };

  bool has_input(int member) const { return batch_.op != Op::broadcast || member == batch_.root; }
  Origin& origin(int member) { return origins_[static_cast<std::size_t>(member)]; }

  std::uint64_t slices_of(const Origin& origin) const {
    if (origin.source != Source::staged) return 0;
    return static_cast<std::uint64_t>((origin.bytes + slice_bytes_ - 1) / slice_bytes_);
  }

  /// Alltoall and exchange: where each member's block begins, and where the last one ends.
  List<std::int64_t> block_begins() const {
    List<std::int64_t> begins(channel_.memory());
    if (batch_.op != Op::alltoall && batch_.op != Op::exchange) return begins;
    std::int64_t begin = 0;
    for (const std::int64_t count : batch_.send_counts) {
      begins.push_back(begin * element_bytes());
      begin += count;
    }
    begins.push_back(begin * element_bytes());
    return begins;
  }

  bool add_offsets(List<std::int64_t>& list) const {
    List<std::int64_t> offsets(channel_.memory());
    for (const BatchTensor& tensor : batch_.tensors) {
      offsets.push_back(offset_of(tensor.input, tensor.count * element_bytes()));
      if (offsets.back() < 0) return false;
    }
    list.insert(list.end(), offsets.begin(), offsets.end());
    return true;
  }

  Status look_up() {
    List<std::int64_t> list(channel_.memory());
    for (int member = 0; member < size(); ++member) {
      if (Status status = read_list(member, list); !status.ok()) return status;
      Origin& origin = origins_.emplace_back();
      origin.source = slot_of(member).source;
      if (origin.source == Source::none) continue;
      if (!set_interval(origin, member, list)) return unusable(member);
      origin.position = origin.begin;
      take_staged(member);
      if (origin.source == Source::addressed && !set_tensors(origin, member, list)) {
        return unusable(member);
      }
    }
    return Status();
  }

  bool set_interval(Origin& origin, int member, const List<std::int64_t>& list) const {
    const auto blocks = static_cast<std::size_t>(size());
    if (batch_.op == Op::broadcast) {
      origin.bytes = origin.end = bytes();
    } else if (batch_.op == Op::allgather) {
      origin.bytes = origin.end =
          batch_.block_counts[static_cast<std::size_t>(member)] * element_bytes();
    } else {
      if (list.size() < blocks + 1) return false;
      const auto own = static_cast<std::size_t>(rank());
      origin.bytes = list[blocks];
      origin.begin = list[own];
      origin.end = list[own + 1];
      const std::int64_t expected =
          batch_.block_counts[static_cast<std::size_t>(member)] * element_bytes();
      if (origin.begin < 0 || origin.end > origin.bytes || origin.end - origin.begin != expected) {
        return false;
      }
    }
    return origin.source != Source::in_slot || origin.bytes <= kSmallBytes;
  }

  bool set_tensors(Origin& origin, int member, const List<std::int64_t>& list) {
    const std::size_t count = batch_.op == Op::broadcast ? batch_.tensors.size() : 1;
    if (list.size() < count) return false;
    origin.tensors = tensors_.size();
    for (std::size_t t = 0; t < count; ++t) {
      const std::int64_t tensor_bytes =
          count == 1 ? origin.bytes : batch_.tensors[t].count * element_bytes();
      tensors_.push_back(channel_.address(member, list[list.size() - count + t], tensor_bytes));
      if (tensors_.back() == nullptr) return false;
    }
    return true;
  }

  static Status unusable(int member) {
    return Status(Code::bad_message,
                  fmt::format("shared memory: what member {} published does not fit", member));
  }

  /// Fills the next slice of this member's stage, if it is free.
  void stage_one() {
    const Origin& own = origin(rank());
    if (staged_ >= slices_of(own) || !channel_.may_fill(kInputs, staged_)) return;
    const std::int64_t begin = static_cast<std::int64_t>(staged_) * slice_bytes_;
    const std::int64_t end = std::min(begin + slice_bytes_, own.bytes);
    kernels::pack(batch_, begin / element_bytes(), end / element_bytes(),
                  channel_.slice(kInputs, rank(), staged_));
    channel_.fill(kInputs, staged_++);
  }

  /// Fetches at most `budget` bytes, rounded up, of what a member has for this one. Returns the
  /// number of bytes fetched.
  std::int64_t fetch(int member, std::int64_t budget) {
    Origin& from = origin(member);
    std::int64_t end = std::min(from.end, from.position + budget);
    if (from.position == end) return 0;
    if (member == rank()) return fetch_own(from, end);
    const std::int64_t begin = from.position;
    if (from.source == Source::staged) {
      const std::int64_t slice = begin / slice_bytes_;
      if (!channel_.filled(kInputs, member, static_cast<std::uint64_t>(slice))) return 0;
      end = std::min(from.end, (slice + 1) * slice_bytes_);
      const std::byte* const data =
          channel_.slice(kInputs, member, static_cast<std::uint64_t>(slice));
      store(member, begin, end, data + (begin - slice * slice_bytes_));
      from.position = end;
      take_staged(member);
    } else if (from.source == Source::in_slot) {
      store(member, begin, end, slot_of(member).data.data() + begin);
    } else {
      end -= (end - begin) % element_bytes();
      if (end == begin) end = std::min(from.end, begin + element_bytes());
      fetch_addressed(member, begin, end);
    }
    from.position = end;
    channel_.note_work();
    return end - begin;
  }

  /// Gives back the slices of a member's stage that this member does not need, or no longer needs.
  void take_staged(int member) {
    const Origin& from = origin(member);
    if (from.source != Source::staged || member == rank()) return;
    const bool all = from.position == from.end;
    channel_.take(kInputs, member,
                  all ? slices_of(from) : static_cast<std::uint64_t>(from.position / slice_bytes_));
  }

  /// Copies what this member has for itself; there is nothing to do if it is in place.
  std::int64_t fetch_own(Origin& own, std::int64_t end) {
    const std::int64_t begin = own.position;
    if (batch_.op == Op::broadcast) {
      for (const BatchTensor& tensor : batch_.tensors) {
        kernels::copy_elements(tensor.input, tensor.output, tensor.count, batch_.dtype);
      }
      own.position = own.end;
      return own.end - begin;
    }
    const auto* const input = static_cast<const std::byte*>(batch_.tensors[0].input) + begin;
    std::byte* const out = output_of(rank()) + (begin - own.begin);
    if (input != out) copy(input, end - begin, out);
    own.position = end;
    return end - begin;
  }

  void fetch_addressed(int member, std::int64_t begin, std::int64_t end) {
    const Origin& from = origin(member);
    if (batch_.op != Op::broadcast)
      return store(member, begin, end, tensors_[from.tensors] + begin);
    kernels::for_each_piece(batch_, begin / element_bytes(), end / element_bytes(),
                            [&](std::size_t t, std::int64_t offset, std::int64_t count) {
                              kernels::copy_elements(
                                  tensors_[from.tensors + t] + offset * element_bytes(),
                                  kernels::at(batch_.tensors[t].output, offset, batch_.dtype),
                                  count, batch_.dtype);
                            });
  }

  /// Copies bytes [begin, end) of a member's sequence from `data` to where they belong.
  void store(int member, std::int64_t begin, std::int64_t end, const std::byte* data) {
    if (batch_.op == Op::broadcast) {
      kernels::unpack(batch_, begin / element_bytes(), end / element_bytes(), data);
    } else {
      copy(data, end - begin, output_of(member) + (begin - origin(member).begin));
    }
  }

  static void copy(const std::byte* data, std::int64_t bytes, std::byte* out) {
    kernels::copy_bytes(data, out, static_cast<std::size_t>(bytes), kernels::Stores::cached);
  }

  /// Where a member's block begins in the output.
  std::byte* output_of(int member) const {
    return kernels::at(batch_.tensors[0].output, block_begin(batch_.block_counts, member),
                       batch_.dtype);
  }

  void finish() {
    for (int member = 0; member < size(); ++member) {
      channel_.end_stage(kInputs, member, slices_of(origin(member)));
    }
    channel_.finish(number_);
  }

  std::int64_t slice_bytes_;
  List<Origin> origins_;
  List<const std::byte*> tensors_;  ///< of members whose input is addressed
  std::uint64_t staged_ = 0;
  bool finished_ = false;
};

}  // namespace

std::shared_ptr<Collective> make_move(const Batch& batch, Channel& channel, std::uint64_t number) {
  return make_in<Move>(channel, batch, channel, number);
}

}  // namespace ringleader::shm
