// SPDX-License-Identifier: Apache-2.0
//
// Process sets: subsets of the ranks with operations of their own.
//
//   ProcessSet even = add_process_set({0, 2});      // every rank of the world calls it
//   ReduceOptions options;
//   options.process_set = even;
//   if (even.includes(rank())) allreduce("x", view, ReduceOp::sum, options);
#pragma once

#include <cstdint>
#include <vector>

namespace ringleader {

/// Identifies a process set; the default is the world. A plain value, equal on all ranks.
struct ProcessSet {
  /// 0: all ranks.
  std::uint32_t id = 0;

  /// World ranks of the members, ascending. Errors: not_initialized; invalid_argument if the set
  /// does not exist. The other member functions have the same errors.
  std::vector<int> ranks() const;
  /// The number of members.
  int size() const;
  /// Whether that world rank is a member.
  bool includes(int world_rank) const;

  /// This rank's index in the set, or -1 if it is not a member.
  int rank() const;
};

/// Makes a process set of the given world ranks, in any order. Collective over the world: every
/// rank calls it with the same ranks. Blocks until all have.
/// Errors: invalid_argument for ranks that are empty, repeated or out of range; mismatch.
ProcessSet add_process_set(std::vector<int> ranks);

/// Removes a process set that is not the world. Collective over the world; no operation of the set
/// may be pending. Its id may be given to a later set.
void remove_process_set(ProcessSet process_set);

}  // namespace ringleader
