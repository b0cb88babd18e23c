// SPDX-License-Identifier: Apache-2.0
//
// GradientReducer: the part of DistributedOptimizer that does not depend on the optimizer's type.
// It registers the gradients as a plan, so that no control messages are sent after the first step,
// and completes one period of the plan per step.
#pragma once

#include <ringleader/core/source_location.h>
#include <ringleader/core/status.h>
#include <ringleader/ops/optimizer_adapter.h>
#include <ringleader/ops/process_set.h>
#include <ringleader/ops/slot.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ringleader {

/// How the ranks cooperate. Only gradient averaging exists so far.
enum class Strategy { gradients };

/// The type in which f32 gradients are sent. 16 bits halve the bytes: every rank rounds its
/// gradient once, and the sum is computed in f32 and rounded once. fp16 has 11 significant bits and
/// a largest value of 65,504; bf16 has 8 significant bits and the range of f32.
enum class Compression { none, fp16, bf16 };

/// Whether every rank keeps the whole state of the optimizer (moments) or only its shard. With
/// `optimizer_state` each rank steps its shard, then all ranks collect the parameters. For
/// optimizers that update every element by itself. The parameters are the same, bit by bit.
enum class Sharding { none, optimizer_state };

/// Options of DistributedOptimizer. They must be equal on all ranks, except for members that hold
/// addresses.
struct OptimizerOptions {
  /// Distinguishes several optimizers of one program; equal on all ranks.
  std::string name = "optimizer";

  /// How the ranks cooperate.
  Strategy strategy = Strategy::gradients;

  /// Backward passes whose gradients the program accumulates (adds up) before each step. With
  /// GradientMeaning::mean the result is divided by this number, so that k passes equal one pass
  /// over k times as many samples.
  int passes_per_step = 1;

  /// When the optimizer is wrapped, copy the root's parameters to all ranks, and its state if that
  /// is known.
  bool broadcast_parameters = true;
  int root = 0;  ///< world rank

  /// Names for errors and reports, keyed by the address of the parameter. Parameters that are not
  /// listed keep the adapter's names.
  std::map<const void*, std::string> parameter_names = {};

  /// The ranks that take part; by default all.
  ProcessSet process_set = {};

  /// Divide by the number of ranks that contributed instead of the size of the process set. The two
  /// differ while some rank has joined.
  bool average_over_contributors = false;

  /// The type in which f32 gradients are sent.
  Compression compression = Compression::none;

  /// Whether the optimizer's state is divided among the ranks.
  Sharding sharding = Sharding::none;

  /// Gives the same bits on any number of ranks. The batch of a step is that of this many virtual
  /// workers: a power of two and a multiple of the number of ranks. Each rank computes the
  /// gradients of its share of the workers one after another (virtual_workers()), and one binary
  /// tree adds all of them up. Gradients must be f32, f64 or integers. 0: off.
  int virtual_workers = 0;

  /// Says that the optimizer keeps nothing but the parameters from step to step, so join() has
  /// nothing else to hand over. For optimizers whose state is not described.
  bool stateless = false;

  /// If set: when the wrapper is destroyed, receives the names of the parameters for which no rank
  /// had a gradient in any step.
  std::shared_ptr<std::vector<std::string>> unused_parameters = {};
};

/// Callbacks through which GradientReducer reaches the optimizer. Each may be null.
struct ReducerHooks {
  /// Fills in one entry per parameter, in order.
  std::function<void(std::vector<SlotNow>&)> look;

  /// For a gradient that was not announced: puts it into the slot's memory and returns true, or
  /// returns false if there is no gradient. If this is set, every step also determines which
  /// gradients any rank has.
  std::function<bool(std::size_t)> missing;

  /// Names and values of settings that must be equal on all ranks, such as the learning rate.
  std::function<std::vector<std::pair<std::string, double>>()> scalars;

  /// A 20-bit hash that must be equal on all ranks in this step: of the point at which a function
  /// is evaluated.
  std::function<std::uint32_t()> point;

  /// Steps the optimizer, given which parameters any rank has used. For sharding: a rank without
  /// data steps its shard along with the others.
  std::function<void(const std::vector<bool>&)> update;

  /// Overwrites the optimizer's state with that of the given world rank. Collective. Returns false
  /// if the state is not known.
  std::function<bool(int)> hand_over;
};

/// Throws mismatch, naming the first number that differs between ranks, or the count if that
/// differs. Collective over the options' process set, blocks.
void compare_scalars(const std::vector<std::pair<std::string, double>>& scalars,
                     const OptimizerOptions& options, SourceLocation where);

/// Threading: one thread at a time, except that ready() may be called from any thread.
class GradientReducer {
 public:
  /// Collective, blocks.
  GradientReducer(std::vector<Slot> slots, GradientMeaning meaning, const OptimizerOptions& options,
                  SourceLocation where, ReducerHooks hooks = {});
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  /// See DistributedOptimizer.
  void ready(std::size_t index, SourceLocation where);
  /// for_step  the update follows: gradients that have been reduced and have not changed since are
  ///           not reduced again
  void synchronize(SourceLocation where, bool for_step = true);
  /// See DistributedOptimizer.
  void abandon_step(SourceLocation where);
  /// See DistributedOptimizer::clip_gradient_norm().
  double clip_norm(double norm_max, bool error_if_nonfinite, SourceLocation where);

  /// Call after the optimizer's update: the next ready() or synchronize() belongs to the next step.
  /// Blocks with sharding.
  void begin_step(SourceLocation where = {});

  /// Call when the update or the backward pass has thrown: the next call gives the step up. Does
  /// not block and does not throw.
  void drop_step() noexcept;

  /// Call when a backward pass that announces its gradients itself has ended. Submits the gradients
  /// that it did not announce. Returns true if there is something to wait for, with synchronize().
  /// Does not block.
  bool submit_pass(SourceLocation where);

  /// Call when such a pass has failed halfway. Does not block and does not throw.
  void pass_failed() noexcept;

  /// Call before the gradients are set to zero: gives up a step that has begun. May block.
  void zero(SourceLocation where);

  /// Throws invalid_argument, naming the parameter, if the program has changed something since the
  /// optimizer was wrapped and training cannot go on with it.
  void check(SourceLocation where);

  /// Replaces the loss of this rank's batch with that of all ranks, combined as the gradients are.
  /// Blocks.
  void combine_loss(const TensorView& loss, SourceLocation where);

  /// With virtual workers: begins this rank's first worker. Returns its number, and how many
  /// workers this rank has.
  std::pair<int, int> begin_workers();
  /// Call when the worker's pass is over. Gradients that were not announced are taken as they are,
  /// or as zeros once the program has announced any.
  void end_worker();

  /// Per parameter: whether any rank has its gradient. After synchronize(), with
  /// ReducerHooks::missing.
  std::vector<bool> used() const;

  /// Steps that this rank has made.
  std::uint64_t steps() const;

  /// The parameters. With sharding the optimizer steps others: see stepped().
  std::vector<Slot> parameters() const;
  /// What the optimizer must step: its own slots, or this rank's shards of them.
  std::vector<Slot> stepped() const;

 private:
  friend class NoSyncGuard;
  friend class JoinGuard;
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// The guards behind DistributedOptimizer's members of similar names.

/// While it lives, gradients stay on this rank: see DistributedOptimizer::no_sync().
class NoSyncGuard {
 public:
  /// The reducer outlives the guard.
  explicit NoSyncGuard(GradientReducer& reducer);
  ~NoSyncGuard();
  NoSyncGuard(const NoSyncGuard&) = delete;
  NoSyncGuard& operator=(const NoSyncGuard&) = delete;

 private:
  GradientReducer::Impl& reducer_;
};

/// See DistributedOptimizer::join(). Can be moved, so that a std::optional can hold it.
class JoinGuard {
 public:
  /// The reducer outlives the guard.
  explicit JoinGuard(GradientReducer& reducer);
  /// Joins, unless an exception is leaving the scope. Throws what join and broadcast throw.
  ~JoinGuard() noexcept(false);
  /// Only the new guard joins.
  JoinGuard(JoinGuard&& other) noexcept;
  JoinGuard& operator=(JoinGuard&&) = delete;

 private:
  GradientReducer::Impl* reducer_;
  int exceptions_;  ///< in flight when the guard was made
};

/// Refuses a second step() while one is running.
class StepGuard {
 public:
  /// Throws invalid_argument while another thread is in step().
  StepGuard(std::atomic<bool>& stepping, SourceLocation where);
  ~StepGuard();
  StepGuard(const StepGuard&) = delete;
  StepGuard& operator=(const StepGuard&) = delete;

 private:
  std::atomic<bool>& stepping_;
};

}  // namespace ringleader
