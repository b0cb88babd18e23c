// SPDX-License-Identifier: Apache-2.0
//
// Catalog: the ids, process sets and plans that exist according to the log. It depends on the log
// alone (and on this rank's position in the tree), so all ranks that have applied the same entries
// hold the same catalog.
#pragma once

#include <ringleader/core/protocol/key_index.h>
#include <ringleader/core/protocol/message.h>
#include <ringleader/core/protocol/request.h>
#include <ringleader/core/protocol/tree.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace ringleader::protocol {

/// A reporter is a child, given by its index, or the node's own rank, given by kSelf.
constexpr int kSelf = 63;

/// A process set as seen from one node of the tree.
struct ProcessSetInfo {
  std::uint32_t channel = 0;
  std::vector<std::int32_t> ranks;  ///< ascending; empty stands for the world
  int size = 0;
  bool member = false;  ///< this node's rank belongs to the set

  /// Bit i: child i's subtree has members; bit kSelf: `member`.
  std::uint64_t reporters = 0;
  std::vector<Absence> children;  ///< per child: number of members and the lowest of them
};

struct PlanInfo {
  std::uint32_t channel = 0;
  std::uint32_t first_id = 0;
  std::shared_ptr<const Request> request;

  std::uint32_t process_set() const { return request->process_set; }
  std::uint32_t size() const { return static_cast<std::uint32_t>(request->tensors.size()); }
};

/// What an id stands for: an operation, or parameter `parameter` of plan `plan`.
struct Definition {
  std::shared_ptr<const Request> request;
  std::optional<std::uint32_t> plan;
  std::uint32_t parameter = 0;

  /// The log length after the entry that last changed the meaning of this id. An announcement from
  /// a rank that had applied fewer entries refers to the old meaning and is dropped.
  std::uint64_t changed_at = 0;

  bool defined() const { return request != nullptr; }
};

class Catalog {
 public:
  explicit Catalog(const Tree& tree);

  /// Entries applied so far.
  std::uint64_t log_length() const { return log_length_; }

  /// Applies an entry. An entry that refers to something unknown is the peer's error.
  Status apply(const LogEntry& entry);

  const ProcessSetInfo* process_set(std::uint32_t id) const;
  const PlanInfo* plan(std::uint32_t id) const;
  const Definition* find(std::uint32_t id) const;
  std::optional<std::uint32_t> id_of(const KeyView& key) const;
  std::uint64_t changed_at(std::uint32_t id) const;

  /// The spec of tensor `index` of what `id` stands for, or nullptr.
  const TensorSpec* tensor(std::uint32_t id, std::uint32_t index) const;

  /// The first tensor of a plan that cannot be one of its parameters, or nullptr.
  const TensorSpec* first_unplannable(const Request& plan) const;

  /// The process set of the operation or plan that `id` stands for.
  std::uint32_t process_set_of(std::uint32_t id) const { return find(id)->request->process_set; }

  // For the root, which chooses the numbers that the log then fixes.
  std::uint32_t free_id() const;
  std::uint32_t free_id_range(std::size_t count) const;
  std::uint32_t free_process_set() const;
  std::uint32_t free_plan() const;
  std::size_t named_ids() const { return ids_by_key_.size(); }
  std::uint32_t plan_count() const { return static_cast<std::uint32_t>(plans_.size()); }

  /// The number of members of an existing set.
  std::size_t size_of_set(std::uint32_t id) const {
    return static_cast<std::size_t>(process_set(id)->size);
  }

  /// World ranks of a set, listed explicitly even for the world.
  std::vector<int> ranks_of(std::uint32_t process_set) const;

 private:
  Status apply_entry(const DefineEntry& entry);
  Status apply_entry(const SetEntry& entry);
  Status apply_entry(const SetRemovedEntry& entry);
  Status apply_entry(const PlanEntry& entry);
  Status apply_entry(const PlanReleasedEntry& entry);
  Status apply_entry(const ArmEntry& entry);
  template <typename Entry>
  Status apply_entry(const Entry&) {
    return Status();
  }

  ProcessSetInfo make_set(std::vector<std::int32_t> ranks);
  void undefine(std::uint32_t id);
  void add_id();
  void forget_name(std::uint32_t id);
  auto keys() const {
    return [this](std::uint32_t id) { return key_of(*ids_[id].request); };
  }

  Tree tree_;
  std::uint64_t log_length_ = 0;
  std::uint32_t next_channel_ = 0;
  std::vector<std::optional<ProcessSetInfo>> process_sets_;
  std::vector<std::optional<PlanInfo>> plans_;
  std::vector<Definition> ids_;
  std::vector<std::uint32_t> free_ids_;
  KeyIndex ids_by_key_;
};

}  // namespace ringleader::protocol
