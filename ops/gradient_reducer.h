// SPDX-License-Identifier: Apache-2.0
//
// GradientReducer: the part of DistributedOptimizer that does not depend on the optimizer's type.
// It registers the gradients as a plan, so that after the first step no control message is sent,
// and completes the plan's period in every step.
#pragma once

#include <ringleader/core/source_location.h>
#include <ringleader/core/status.h>
#include <ringleader/ops/process_set.h>
#include <ringleader/ops/slot.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace ringleader {

/// What a rank's gradient is with respect to the samples of its batch, which decides how the
/// ranks' gradients are combined: means are averaged, sums are added up.
enum class GradientMeaning { mean, sum };

/// How the ranks cooperate. Only gradient averaging exists so far.
enum class Strategy { gradients };

struct OptimizerOptions {
  /// Distinguishes several optimizers of one program; equal on all ranks.
  std::string name = "optimizer";

  GradientMeaning meaning = GradientMeaning::mean;

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
};

/// Threading: one thread at a time, except that ready() may be called from any thread.
class GradientReducer {
 public:
  GradientReducer(std::vector<Slot> slots, const OptimizerOptions& options, SourceLocation where);
  ~GradientReducer();
  GradientReducer(GradientReducer&&) noexcept;
  GradientReducer& operator=(GradientReducer&&) noexcept;

  /// See DistributedOptimizer.
  void ready(std::size_t index, SourceLocation where);
  void synchronize(SourceLocation where);

  /// Ends the step: the next ready() or synchronize() belongs to the next one.
  void begin_step();

  const std::vector<Slot>& slots() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringleader
