// SPDX-License-Identifier: Apache-2.0
//
// Channel: the members of one channel of the runtime, on one node: what they tell each other
// through their control blocks, and their stages.
//
// A stage is a ring of kStageSlices slices in its owner's segment. The owner fills slices in order,
// the others take each of them, and a slice is filled again when all have:
//
//   kInputs   slice of size() parts of part_bytes(): part j is for member j
//   kResults  slice of one part: this member's share of a result, for everybody
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

  /// The address here of `bytes` at an offset in a member's segment; null if they are not all in
  /// it.
  std::byte* address(int member, std::int64_t offset, std::int64_t bytes) const;

  // Batches, numbered from 0.
  Slot& slot(int member, std::uint64_t batch) const {
    return members_[static_cast<std::size_t>(member)].control->slots[batch % kSlots];
  }
  bool may_publish(std::uint64_t batch);
  void publish(std::uint64_t batch);
  bool all_published(std::uint64_t batch);
  /// This member needs nothing from the others' slots and inputs any more.
  void finish(std::uint64_t batch);
  bool all_finished(std::uint64_t batch) const;

  // Stages. Slices are numbered from 0 within a batch; a batch ends with end_stages().
  std::int64_t part_bytes() const { return part_bytes_; }
  std::byte* slice(Stage stage, int member, std::uint64_t index) const;
  /// Whether all others have taken what was in the memory of this member's slice.
  bool may_fill(Stage stage, std::uint64_t index) const;
  void fill(Stage stage, std::uint64_t index);
  bool filled(Stage stage, int member, std::uint64_t index) const;
  /// This member has taken the slices before `count` of `member`.
  void take(Stage stage, int member, std::uint64_t count);
  /// The batch put `count` slices into the member's stage.
  void end_stage(Stage stage, int member, std::uint64_t count);

  /// Grows when this member has done something for a batch.
  std::uint64_t work_done() const { return work_done_; }
  void note_work() { ++work_done_; }

  /// For what lives as long as a batch: memory of batches that have ended serves again.
  std::pmr::memory_resource* memory() { return &pool_; }

  /// A list for one call.
  std::pmr::vector<const void*>& sources() { return sources_; }

  /// Nobody reads this member's memory any more.
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
  std::uint64_t finished_by_all_ = 0;  ///< batches, as last looked up
};

}  // namespace ringleader::shm
