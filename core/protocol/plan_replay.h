// SPDX-License-Identifier: Apache-2.0
//
// PlanReplay: what a rank launches without negotiation, and how it leaves that state.
//
//   replay.submit(token, plan, index, where);   // a parameter is ready: announced, or launched
//   replay.arm(plan, batches);                  // the log: from now on without messages
//   replay.freeze(plan);                        // the log: launch nothing, say where you are
//   replay.cut(plan, end, void_from);           // the log: run up to here, then negotiate
#pragma once

#include <ringleader/core/protocol/catalog.h>
#include <ringleader/core/protocol/launches.h>
#include <ringleader/core/protocol/message.h>
#include <ringleader/core/protocol/plan_state.h>
#include <ringleader/core/protocol/readiness.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ringleader::protocol {

class PlanReplay {
 public:
  /// All arguments outlive this object.
  PlanReplay(const Catalog& catalog, PlanStates& plans, Readiness& readiness, Launches& launches)
      : catalog_(catalog), plans_(plans), readiness_(readiness), launches_(launches) {}

  /// Parameter `index` of a plan is ready on this rank.
  Status submit(Token token, std::uint32_t plan, std::uint32_t index, SourceLocation where);

  // What the log says about an existing plan.
  void arm(std::uint32_t plan, std::vector<std::vector<std::uint32_t>> batches);
  void freeze(std::uint32_t plan);
  Status cut(std::uint32_t plan, std::uint64_t end, std::uint64_t void_from);

  /// This rank has joined: it can no longer follow armed plans, and it runs the rest of a cut with
  /// zeros.
  void leave(std::uint32_t process_set);

  /// A child cannot follow an armed plan.
  void leave_for_child(std::uint32_t plan);

  /// Plans that this rank, or one below it, wants to leave: each once per arming.
  std::vector<std::uint32_t> take_leaving() { return std::exchange(leaving_, {}); }
  bool is_leaving() const { return !leaving_.empty(); }

  /// Whether some plan is frozen, so answers are due.
  bool any_frozen() const;

  /// The answers to freezes that this rank and the ranks below it have all given.
  std::vector<PositionAnnouncement> take_answers();

  /// Root: the order in which its own rank announces the parameters. If it is not a member, the
  /// reverse of registration order, in which gradients usually become ready.
  std::vector<std::uint32_t> order_of(std::uint32_t plan) const;

  /// "in step 7 of 'optimizer'", or nothing before the first step.
  std::string describe_step() const;

 private:
  void run(std::uint32_t plan);
  void launch(std::uint32_t plan, const std::vector<std::uint32_t>& parameters);
  void announce(std::uint32_t plan, std::uint32_t index);

  const Catalog& catalog_;
  PlanStates& plans_;
  Readiness& readiness_;
  Launches& launches_;
  std::vector<std::uint32_t> leaving_;
};

}  // namespace ringleader::protocol
