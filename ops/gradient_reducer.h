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

struct OptimizerOptions {
  /// Distinguishes several optimizers of one program; equal on all ranks.
  std::string name = "optimizer";

  Strategy strategy = Strategy::gradients;

  /// Backward passes whose gradients the program accumulates (adds up) before each step. With
  /// GradientMeaning::mean the result is divided by it, so that k passes equal one k times larger.
  int passes_per_step = 1;

  /// Copy the root's parameters to all ranks when the optimizer is wrapped.
  bool broadcast_parameters = true;
  int root = 0;  ///< world rank

  ProcessSet process_set = {};

  /// Divide by the ranks that contributed instead of the size of the set; they differ while some
  /// rank has joined.
  bool average_over_contributors = false;

  Compression compression = Compression::none;

  Sharding sharding = Sharding::none;

  /// The same bits on any number of ranks: the batch of a step is that of so many virtual workers,
  /// a power of two that the number of ranks divides. Each rank computes the gradients of its
  /// share of them one after another (virtual_workers()), and all are added up by one binary tree.
  /// Gradients must be f32, f64 or integers. 0: off.
  int virtual_workers = 0;
};

/// Threading: one thread at a time, except that ready() may be called from any thread.
class GradientReducer {
 public:
  /// exchange_use  every step also finds out which parameters any rank has announced
  GradientReducer(std::vector<Slot> slots, GradientMeaning meaning, const OptimizerOptions& options,
                  SourceLocation where, bool exchange_use = false);
  ~GradientReducer();
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  /// See DistributedOptimizer.
  void ready(std::size_t index, SourceLocation where);
  void synchronize(SourceLocation where);
  double clip_norm(double norm_max, SourceLocation where);

  /// Ends the step: the next ready() or synchronize() belongs to the next one.
  void begin_step();

  /// Replaces the loss of this rank's batch by that of all ranks, as the gradients are. Blocks.
  void combine_loss(const TensorView& loss, SourceLocation where);

  /// Throws mismatch with the first number that is not equal on all ranks. Collective, blocks.
  void compare(const std::vector<std::pair<std::string, double>>& scalars, SourceLocation where);

  /// Throws invalid_argument if there are not as many slots as when the reducer was made.
  void check_count(std::size_t count) const;

  /// After synchronize(), with `exchange_use`: per parameter, whether any rank announced it.
  std::vector<bool> used() const;

 private:
  friend class NoSyncGuard;
  friend class JoinGuard;
  friend class VirtualWorkers;
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// The following are what DistributedOptimizer's members of similar names return.

class NoSyncGuard {
 public:
  explicit NoSyncGuard(GradientReducer& reducer);
  ~NoSyncGuard();
  NoSyncGuard(const NoSyncGuard&) = delete;
  NoSyncGuard& operator=(const NoSyncGuard&) = delete;

 private:
  GradientReducer::Impl& reducer_;
};

class JoinGuard {
 public:
  explicit JoinGuard(GradientReducer& reducer);
  /// Joins, unless an exception is on its way. Throws what join and broadcast throw.
  ~JoinGuard() noexcept(false);
  JoinGuard(const JoinGuard&) = delete;
  JoinGuard& operator=(const JoinGuard&) = delete;

 private:
  GradientReducer::Impl& reducer_;
  int exceptions_;  ///< on their way when the guard was made
};

/// Refuses a second step at the same time.
class StepGuard {
 public:
  StepGuard(std::atomic<bool>& stepping, SourceLocation where);
  ~StepGuard();
  StepGuard(const StepGuard&) = delete;
  StepGuard& operator=(const StepGuard&) = delete;

 private:
  std::atomic<bool>& stepping_;
};

/// A range for one loop.
class VirtualWorkers {
 public:
  explicit VirtualWorkers(GradientReducer& reducer);

  class Iterator {
   public:
    Iterator(GradientReducer::Impl* reducer, int worker) : reducer_(reducer), worker_(worker) {}
    int operator*() const { return worker_; }
    /// Ends the worker's pass. Gradients that were not announced are taken as they are, or as zeros
    /// once the program has announced any.
    Iterator& operator++();
    bool operator!=(const Iterator& other) const { return worker_ != other.worker_; }

   private:
    GradientReducer::Impl* reducer_;
    int worker_;
  };

  Iterator begin() const { return {&reducer_, first_}; }
  Iterator end() const { return {&reducer_, last_}; }

 private:
  GradientReducer::Impl& reducer_;
  int first_ = 0;
  int last_ = 0;
};

}  // namespace ringleader
