// SPDX-License-Identifier: Apache-2.0
//
// PlanState: one plan on one node: which parameters the rank has ready, and how far it has got in
// replaying the plan's batches.
//
//              arm                    freeze               cut
//   negotiated ----> armed (launches) ------> frozen (answers) ----> draining (launches to the end)
//        ^                                                                  |
//        +------------------------------ end reached <----------------------+
//
// It launches nothing itself: next_batch() says what may be launched, and the node does it.
#pragma once

#include <ringleader/core/protocol/message.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace ringleader::protocol {

class PlanState {
 public:
  PlanState() = default;
  /// phases  one per parameter
  explicit PlanState(const std::vector<std::int32_t>& phases);

  /// Parameter `index` is ready on this rank. Errors: it was already submitted in this step, it has
  /// not completed since the last one, or its phase has not come.
  Status submit(std::uint32_t index, Token token);

  /// The operation of parameter `index` has completed.
  void completed(std::uint32_t index);

  /// True while some parameter is submitted and not completed.
  bool busy() const { return in_flight_count_ > 0; }

  /// Removes the parameter and returns its token; kNoToken if it is not ready on this rank.
  Token take(std::uint32_t index);

  /// Parameters that are ready and have not been taken, in ascending order.
  std::vector<std::uint32_t> ready_parameters() const;

  void arm(std::vector<std::vector<std::uint32_t>> batches);
  void freeze();
  void cut(std::uint64_t end, std::uint64_t void_from);

  /// The next batch if it may be launched now, else null. With `with_zeros` its parameters need not
  /// be ready on this rank, but only on the way to a cut.
  const std::vector<std::uint32_t>* next_batch(bool with_zeros) const;
  void launched();

  /// True if the latest launch, or the cut itself, reached the end of a cut. From then on the plan
  /// is negotiated.
  bool leave_if_drained();

  /// All ranks have given up the step: the next one is negotiated and begins with any parameter.
  void abandon_step();

  /// The parameters in the order of the first step that this rank has submitted completely, or of
  /// the step that it is submitting.
  const std::vector<std::uint32_t>& order() const { return order_; }

  /// Whole steps that the rank has submitted.
  std::uint64_t step() const { return step_; }
  std::uint64_t batches_per_step() const { return batches_.size(); }

  bool negotiated() const { return phase_ == Phase::negotiated; }
  bool armed() const { return phase_ == Phase::armed; }
  bool frozen() const { return phase_ == Phase::frozen; }
  std::uint64_t position() const { return position_; }
  bool is_void(std::uint64_t position) const { return position >= void_from_; }

  // The answers of the subtree to a freeze.
  void answer(int reporter, std::uint64_t least, std::uint64_t most);
  std::optional<PositionAnnouncement> take_answer(std::uint32_t plan, std::uint64_t reporters);

  /// True once per arming: a rank asks to leave only once.
  bool first_leave();

 private:
  void start_step();

  enum class Phase : std::uint8_t { negotiated, armed, frozen, draining };

  Phase phase_ = Phase::negotiated;
  std::vector<std::size_t> phases_;   ///< per parameter: its phase, renumbered 0, 1, ...
  std::vector<std::uint32_t> sizes_;  ///< per phase: parameters
  std::vector<std::uint32_t> left_;   ///< per phase: parameters to come in this step
  std::vector<Token> ready_;          ///< per parameter, kNoToken if not ready
  std::vector<bool> submitted_;       ///< per parameter, in this step
  std::uint32_t submitted_count_ = 0;
  std::vector<std::uint32_t> order_;
  std::uint64_t step_ = 0;
  std::vector<bool> in_flight_;  ///< per parameter: submitted and not completed
  std::uint32_t in_flight_count_ = 0;
  std::vector<std::vector<std::uint32_t>> batches_;
  std::uint64_t position_ = 0;  ///< batches launched since the plan was armed
  std::uint64_t end_ = 0;
  std::uint64_t void_from_ = UINT64_MAX;
  bool leave_sent_ = false;

  std::uint64_t answered_ = 0;  ///< bit per reporter
  std::uint64_t least_ = UINT64_MAX;
  std::uint64_t most_ = 0;
};

/// By plan number.
using PlanStates = std::map<std::uint32_t, PlanState>;

}  // namespace ringleader::protocol
