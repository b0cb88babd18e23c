// SPDX-License-Identifier: Apache-2.0
//
// Launches: the operations of this rank from submission to completion, and the batches that carry
// them. Everything that a rank launches or completes passes through here.
//
//   launches.add(token, operation);          // submitted
//   launches.start(launch, batch);           // decided: an action for the runtime
//   launches.finished(launch.id, status);    // the runtime has run it: completions follow
//   launches.take_actions();
#pragma once

#include <ringleader/core/protocol/action.h>
#include <ringleader/core/protocol/local_operations.h>
#include <ringleader/core/protocol/plan_state.h>

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

namespace ringleader::protocol {

/// A batch that was launched but has not completed its operations.
struct InFlightBatch {
  std::vector<Token> tokens;  ///< this rank's operations in it, one per tensor
  std::optional<std::uint32_t> plan;
  std::uint64_t position = 0;  ///< index among the plan's unnegotiated launches
  bool replayed = false;
  bool ran = false;
  Status status;
  Status verdict;  ///< overrides a success: the batch lacked some rank's data
};

class Launches {
 public:
  /// `plans` outlives this object.
  explicit Launches(PlanStates& plans) : plans_(plans) {}

  void add(Token token, LocalOperation operation);
  LocalOperations& operations() { return operations_; }
  const LocalOperations& operations() const { return operations_; }

  // Joins are operations that end when all members have joined.
  void join(std::uint32_t process_set, Token token) { joins_[process_set] = token; }
  bool has_joined(std::uint32_t process_set) const { return joins_.count(process_set) != 0; }
  /// All members have joined: completes this rank's join, if it has one.
  void end_join(std::uint32_t process_set, std::int32_t last_rank);

  /// Empty vectors that reuse the memory of batches that have ended.
  std::vector<LaunchItem> spare_items();
  InFlightBatch spare_batch();

  void start(Launch launch, InFlightBatch batch);

  /// A batch has run. A batch of a frozen plan waits for the cut, which tells whether it counts;
  /// `final` means that no cut will come.
  void finished(std::uint64_t launch_id, const Status& status, bool final);

  /// Completes the batches that have waited for this plan's cut.
  void settle_cut(std::uint32_t plan);

  /// Ends everything undecided now, and batches that lack some rank's data once they have run.
  void end_undecided(const Status& reason);

  /// Ends everything now, even what is still running.
  void fail(const Status& reason);

  /// Completes an operation. Ignores another rank's operation, whose token is kNoToken.
  void complete(Token token, Status status, std::int64_t value = 0);

  template <typename T>
  void act(T action) {
    actions_.emplace_back(std::in_place_type<T>, std::move(action));
  }
  /// Later actions reuse the memory of `reused`.
  std::vector<Action> take_actions(std::vector<Action> reused);

  /// Calls visit(batch) in launch order.
  template <typename Visit>
  void for_each_in_flight(Visit visit) const {
    for (const auto& [id, batch] : in_flight_) visit(batch);
  }
  bool none_in_flight() const { return in_flight_.empty(); }

  /// Whether something was submitted, launched or completed since the last call.
  bool take_changed() { return std::exchange(changed_, false); }

 private:
  using InFlight = std::map<std::uint64_t, InFlightBatch>;

  void settle(const InFlightBatch& batch);
  void settle_all(const std::vector<std::uint64_t>& ids);

  PlanStates& plans_;
  LocalOperations operations_;
  std::map<std::uint32_t, Token> joins_;  ///< by process set
  InFlight in_flight_;                    ///< by the launch's id
  std::uint64_t next_launch_ = 1;
  std::vector<Action> actions_;
  bool changed_ = false;

  /// Spares keep the memory of ended batches and of taken launches. More than this are seldom in
  /// flight at once.
  static constexpr std::size_t kSpares = 16;
  std::vector<InFlight::node_type> spare_in_flight_;
  std::vector<std::vector<LaunchItem>> spare_items_;
};

}  // namespace ringleader::protocol
