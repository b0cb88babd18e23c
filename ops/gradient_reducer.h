// SPDX-License-Identifier: Apache-2.0
//
// GradientReducer: the part of DistributedOptimizer that does not depend on the optimizer's type.
// It registers the gradients as a plan, so that after the first step no control message is sent,
// and completes the plan's period in every step.
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

/// The type in which f32 gradients travel. 16 bits halve the bytes: every rank rounds its gradient
/// once, sums are taken in f32 and rounded once. fp16 has 11 significant bits and ends at 65,504;
/// bf16 has 8 and the range of f32.
enum class Compression { none, fp16, bf16 };

/// Whether every rank keeps the whole state of the optimizer (moments), or its shard only: then the
/// ranks' shards together are stepped, and the parameters collected. For optimizers that treat
/// every element by itself. The parameters are the same, bit by bit.
enum class Sharding { none, optimizer_state };

/// How DistributedOptimizer works; equal on all ranks but for what memory holds.
struct OptimizerOptions {
  /// Distinguishes several optimizers of one program; equal on all ranks.
  std::string name = "optimizer";

  /// How the ranks cooperate.
  Strategy strategy = Strategy::gradients;

  /// Backward passes whose gradients the program accumulates (adds up) before each step. With
  /// GradientMeaning::mean the result is divided by it, so that k passes equal one k times larger.
  int passes_per_step = 1;

  /// Copy the root's parameters, and the optimizer's state where it is known, to all ranks when the
  /// optimizer is wrapped.
  bool broadcast_parameters = true;
  int root = 0;  ///< world rank

  /// Names for errors and reports by the address of the parameter; others keep the adapter's.
  std::map<const void*, std::string> parameter_names = {};

  /// The ranks that take part; by default all.
  ProcessSet process_set = {};

  /// Divide by the ranks that contributed instead of the size of the set; they differ while some
  /// rank has joined.
  bool average_over_contributors = false;

  /// In which type f32 gradients travel.
  Compression compression = Compression::none;

  /// Whether the optimizer's state is divided among the ranks.
  Sharding sharding = Sharding::none;

  /// The same bits on any number of ranks: the batch of a step is that of so many virtual workers,
  /// a power of two and a multiple of the number of ranks. Each rank computes the gradients of its
  /// share of them one after another (virtual_workers()), and all are added up by one binary tree.
  /// Gradients must be f32, f64 or integers. 0: off.
  int virtual_workers = 0;

  /// The optimizer keeps nothing from step to step but the parameters, so that join() has nothing
  /// else to hand over. For optimizers whose state is not described.
  bool stateless = false;

  /// If set: gets the names of the parameters of which no rank has had a gradient in any step, when
  /// the wrapper is destroyed.
  std::shared_ptr<std::vector<std::string>> unused_parameters = {};
};

/// What GradientReducer asks of the optimizer; each may be null.
struct ReducerHooks {
  /// Fills in one entry per parameter, in order.
  std::function<void(std::vector<SlotNow>&)> look;

  /// For a gradient that was not announced: brings what is there to the slot's memory and returns
  /// true, or returns false if there is none. Where it is set, every step also finds out which
  /// gradients any rank has.
  std::function<bool(std::size_t)> missing;

  /// What must be equal on all ranks, such as the learning rate.
  std::function<std::vector<std::pair<std::string, double>>()> scalars;

  /// A hash of 20 bits of what must be equal in this very step: where a function is evaluated.
  std::function<std::uint32_t()> point;

  /// Makes the optimizer's step, given which parameters any rank has used: where the state is
  /// divided, a rank without data steps its shard with the others.
  std::function<void(const std::vector<bool>&)> update;

  /// Overwrites the optimizer's state with that of this world rank, collectively; false if it does
  /// not know the state.
  std::function<bool(int)> hand_over;
};

/// Throws mismatch with the first number that is not equal on all ranks, or with the count if that
/// is not. Collective over the options' process set, blocks.
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
  /// for_step  the update follows: gradients that were reduced and not changed since are left alone
  void synchronize(SourceLocation where, bool for_step = true);
  /// See DistributedOptimizer.
  void abandon_step(SourceLocation where);
  /// See DistributedOptimizer::clip_gradient_norm().
  double clip_norm(double norm_max, bool error_if_nonfinite, SourceLocation where);

  /// The optimizer has made its update: the next ready() or synchronize() belongs to the next step.
  /// Blocks with sharding.
  void begin_step(SourceLocation where = {});

  /// The update has thrown, or the backward pass: the step is given up by the next call. Does not
  /// block and does not throw.
  void drop_step() noexcept;

  /// A backward pass that announces by itself has ended: submits what it has left out, and returns
  /// whether there is something to wait for, by synchronize(). Does not block.
  bool submit_pass(SourceLocation where);

  /// Such a pass has failed halfway. Does not block and does not throw.
  void pass_failed() noexcept;

  /// The gradients are about to be set to zero: a step that has begun is given up. May block.
  void zero(SourceLocation where);

  /// Throws invalid_argument, naming the parameter, for what the program has changed since the
  /// optimizer was wrapped and what cannot go on.
  void check(SourceLocation where);

  /// Replaces the loss of this rank's batch by that of all ranks, as the gradients are. Blocks.
  void combine_loss(const TensorView& loss, SourceLocation where);

  /// With virtual workers: the number of this rank's first, which begins now, and how many it has.
  std::pair<int, int> begin_workers();
  /// The worker's pass is over. Gradients that were not announced are taken as they are, or as
  /// zeros once the program has announced any.
  void end_worker();

  /// After synchronize(), with ReducerHooks::missing: per parameter, whether any rank has it.
  std::vector<bool> used() const;

  /// Steps that this rank has made.
  std::uint64_t steps() const;

  /// The parameters; and what the optimizer is to step, which with sharding is something else.
  std::vector<Slot> parameters() const;
  /// What the optimizer is to step: its own slots, or this rank's shards of them.
  std::vector<Slot> stepped() const;

 private:
  friend class NoSyncGuard;
  friend class JoinGuard;
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// The following are what DistributedOptimizer's members of similar names return.

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

/// Can be moved, so that a std::optional can hold it.
class JoinGuard {
 public:
  /// The reducer outlives the guard.
  explicit JoinGuard(GradientReducer& reducer);
  /// Joins, unless an exception is on its way. Throws what join and broadcast throw.
  ~JoinGuard() noexcept(false);
  /// Only the new guard joins.
  JoinGuard(JoinGuard&& other) noexcept;
  JoinGuard& operator=(JoinGuard&&) = delete;

 private:
  GradientReducer::Impl* reducer_;
  int exceptions_;  ///< on their way when the guard was made
};

/// Refuses a second step at the same time.
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
