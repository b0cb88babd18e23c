// SPDX-License-Identifier: Apache-2.0
//
// Faults that a test puts into the protocol one at a time, to see that the simulator's checkers
// find them. mutated.h says which one is active: here none ever is, and the compiler removes the
// code.
#pragma once

#include <cstdint>

namespace ringleader::protocol {

enum class Mutation : std::uint8_t {
  none,
  decide_early,      ///< an operation is complete while one reporter is missing
  skip_subtree,      ///< the last child is not waited for
  unordered_plan,    ///< some ranks replay a plan's batches in another order
  drop_after_error,  ///< an operation that failed never completes on some ranks
  reuse_id_early,    ///< an announcement under an id's old meaning counts for its new one
  wrong_join_count,  ///< a rank that has joined counts as a contributor
  forget_void,       ///< batches that lack a rank's data succeed
  cut_at_least,      ///< a cut is the nearest position instead of the furthest
  oversize_batches,  ///< batches are filled to twice the limit
  fuse_phases,       ///< a plan's batch holds what cannot be ready at the same time
  ignore_conflict,   ///< disagreements are not noticed
  complete_twice,    ///< an operation completes twice
  withhold_log,      ///< the log is not passed on to the last child
  replay_unready,    ///< a plan's batch is launched before it is ready
  announce_armed,    ///< parameters of an armed plan are announced
  ignore_freeze,     ///< a frozen plan is launched on
  deaf_to_loss,      ///< the children are not told of a loss
  accept_repeats,    ///< a repeated announcement counts
  accept_damage,     ///< the seal of a message is not looked at
  rash_proof,        ///< a deadlock is believed in as soon as all ranks wait
  trust_old_waits,   ///< a thread whose operation has completed counts as waiting
  never_overdue,     ///< a rank waits for ever for one that does not run
  trust_the_root,    ///< a rank that nobody answers waits on
  count,             ///< not a mutation: how many there are
};

}  // namespace ringleader::protocol
