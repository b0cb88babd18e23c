// SPDX-License-Identifier: Apache-2.0
//
// Channel: one channel of the runtime whose members are all on one node. It wraps the control
// blocks through which the members coordinate, and their stages.
//
// A stage is a ring of kStageSlices slices in its owner's segment. The owner fills the slices in
// order, and every other member takes each of them. A slice is filled again once all others have
// taken it:
//
//   kInputs   a slice has size() parts of part_bytes() bytes; part j is for member j
//   kResults  a slice is one part: this member's share of a result, for all members
#pragma once

#include <ringleader/collectives/shm/control.h>
#include <ringleader/collectives/shm/node.h>
#include <ringleader/collectives/shm/store_choice.h>

#include <cstdint>
#include <memory>
#include <memory_resource>
#include <vector>

namespace ringleader::shm {

constexpr std::uint64_t kStageSlices = 4;

/// Threading: one thread at a time in each process.
class Channel {
 public:
  /// Collective over the group; blocks. Errors: unsupported if some member has no memory left.
  static Result<std::unique_ptr<Channel>> open(std::shared_ptr<Node> node,
                                               std::shared_ptr<const Group> group);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  int rank() const { return group_->rank; }
  int size() const { return group_->size(); }
  Segment& segment() const { return node_->segment(); }
  StoreChoice& stores() { return stores_; }
  std::int64_t streaming_bytes() const { return node_->streaming_bytes(); }

  /// The local address of `bytes` bytes at an offset in a member's segment; null if they are not
  /// all in it.
  std::byte* address(int member, std::int64_t offset, std::int64_t bytes) const;

  // Batches, numbered from 0.
  Slot& slot(int member, std::uint64_t batch) const {
    return members_[static_cast<std::size_t>(member)].control->slots[batch % kSlots];
  }
  bool may_publish(std::uint64_t batch);
  void publish(std::uint64_t batch);
  bool all_published(std::uint64_t batch);
  /// This member no longer needs the others' slots and inputs.
  void finish(std::uint64_t batch);
  bool all_finished(std::uint64_t batch) const;

  // Stages. Slices are numbered from 0 within a batch; a batch ends with end_stage().
  std::int64_t part_bytes() const { return part_bytes_; }
  std::byte* slice(Stage stage, int member, std::uint64_t index) const;
  /// Whether all others have taken the previous contents of this member's slice.
  bool may_fill(Stage stage, std::uint64_t index) const;
  void fill(Stage stage, std::uint64_t index);
  bool filled(Stage stage, int member, std::uint64_t index) const;
  /// This member has taken the first `count` slices of `member`.
  void take(Stage stage, int member, std::uint64_t count);
  /// Ends the batch for a member's stage, into which it put `count` slices.
  void end_stage(Stage stage, int member, std::uint64_t count);

  /// Grows whenever this member does something for a batch.
  std::uint64_t work_done() const { return work_done_; }
  void note_work() { ++work_done_; }

  /// Memory for objects that live as long as a batch. Memory of ended batches is reused.
  std::pmr::memory_resource* memory() { return &pool_; }

  /// Scratch list for the duration of one call.
  std::pmr::vector<const void*>& sources() { return sources_; }

  /// Whether all members have finished the first `batches` batches, so that nobody reads this
  /// member's memory any more.
  bool is_idle(std::uint64_t batches) const { return batches == 0 || all_finished(batches - 1); }

 private:
  struct Member {
    std::byte* base = nullptr;
    std::int64_t bytes = 0;  ///< of its segment
    Control* control = nullptr;
    std::atomic<std::uint64_t>* consumed = nullptr;  ///< [stage][member]
    std::byte* stages = nullptr;
    std::uint64_t before[kStages] = {};  ///< slices of earlier batches
  };

  Channel(std::shared_ptr<Node> node, std::shared_ptr<const Group> group);

  const Member& at(int member) const { return members_[static_cast<std::size_t>(member)]; }
  std::atomic<std::uint64_t>& consumed(Stage stage, int consumer, int member) const {
    return at(consumer).consumed[stage * size() + member];
  }

  std::shared_ptr<Node> node_;
  std::shared_ptr<const Group> group_;
  std::int64_t part_bytes_;
  void* memory_ = nullptr;  ///< of this member, in the segment
  std::vector<Member> members_;
  std::pmr::unsynchronized_pool_resource pool_;
  std::pmr::vector<const void*> sources_{&pool_};
  StoreChoice stores_;
  std::uint64_t work_done_ = 0;
  std::uint64_t finished_by_all_ = 0;  ///< batches; the value last looked up
};

}  // namespace ringleader::shm
