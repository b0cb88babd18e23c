// SPDX-License-Identifier: Apache-2.0
//
// Readiness: what a node of the tree knows about its subtree: which operations each reporter (a
// child or the rank itself) has ready, who has joined, and what they disagree about. An operation
// that the whole subtree has ready is complete and leaves the table: a node passes it on to its
// parent, the root decides it.
#pragma once

#include <ringleader/core/protocol/catalog.h>
#include <ringleader/core/protocol/message.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ringleader::protocol {

/// An operation that the whole subtree has ready: by its id, or by its request.
struct CompleteOperation {
  std::optional<std::uint32_t> id;
  std::optional<NamedAnnouncement> named;  ///< exactly one of the two
  Absence absence;
};

class Readiness {
 public:
  Readiness(const Catalog& catalog, int rank, int first_child)
      : catalog_(catalog), rank_(rank), first_child_(first_child) {}

  /// `reporter` (a child's index or kSelf) has the operation ready.
  void add(std::uint32_t id, int reporter, const Absence& absence = {});
  void add(const NamedAnnouncement& announcement, int reporter);

  /// All members that `reporter` speaks for have joined.
  void add_join(std::uint32_t process_set, int reporter, std::int32_t last_rank);

  bool has_joined(std::uint32_t process_set, int reporter) const;

  /// Every member of the set has joined: all are back.
  void clear_joins(std::uint32_t process_set);

  /// Drops what was collected for the ids [first, first + count), or for a whole process set.
  void forget(std::uint32_t first, std::uint32_t count);
  void forget_process_set(std::uint32_t process_set);
  void forget_all();

  bool has_complete() const { return !complete_.empty() || !complete_joins_.empty(); }
  std::vector<CompleteOperation> take_complete();
  std::vector<JoinAnnouncement> take_joins();

 private:
  struct Entry {
    std::uint32_t process_set = 0;
    std::uint64_t reporters = 0;             ///< bit per reporter that has it ready
    std::int32_t first_rank = 0;             ///< whose request the others' are compared with
    std::string site;                        ///< where that rank submitted it, if known
    std::shared_ptr<const Request> request;  ///< absent while all reports are by id
    Absence absence;
    std::optional<Conflict> conflict;
  };
  struct Joins {
    std::uint64_t reporters = 0;
    std::int32_t last_rank = 0;
  };

  void report(Entry& entry, const std::optional<std::uint32_t>& id, int reporter,
              const Absence& absence, const NamedAnnouncement* named);
  bool is_complete(const Entry& entry) const;
  void finish(std::optional<std::uint32_t> id, Entry entry);
  std::int32_t representative(std::uint32_t process_set, int reporter) const;

  const Catalog& catalog_;
  int rank_;
  int first_child_;
  std::map<std::uint32_t, Entry> by_id_;
  std::map<Key, Entry> by_key_;
  std::map<std::uint32_t, Joins> joins_;
  std::vector<CompleteOperation> complete_;
  std::vector<JoinAnnouncement> complete_joins_;
};

}  // namespace ringleader::protocol
