// SPDX-License-Identifier: Apache-2.0
//
// DistributedOptimizer: wraps the optimizer that a program already has, so that every step uses
// the gradients of all ranks.
//
//   ringleader::init();
//   my::Sgd sgd(...);
//   ringleader::DistributedOptimizer optimizer(sgd);   // broadcasts parameters, registers the plan
//   ...
//   optimizer.step();                                  // gradients are averaged, then sgd.step()
//
// It does not compute gradients, and it does not change what the optimizer does with them.
#pragma once

#include <ringleader/ops/gradient_reducer.h>
#include <ringleader/ops/slot.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace ringleader {

/// Threading: one thread at a time, except that ready() may be called from any thread.
template <typename Optimizer>
class DistributedOptimizer {
 public:
  /// Wraps `optimizer`, which must outlive the wrapper. Collective: broadcasts the parameters from
  /// the root and agrees on names, shapes and order with the other ranks. Blocks.
  /// Errors: mismatch, naming the first parameter about which ranks differ; invalid_argument if a
  /// gradient does not fit its parameter or a name is repeated.
  explicit DistributedOptimizer(Optimizer& optimizer, const OptimizerOptions& options = {},
                                SourceLocation where = SourceLocation::current())
      : DistributedOptimizer(std::shared_ptr<Optimizer>(&optimizer, [](Optimizer*) {}), options,
                             where) {}

  /// Wraps an update function over flat arrays. The slots' memory must outlive the wrapper.
  DistributedOptimizer(std::vector<Slot> slots, std::function<void()> step,
                       const OptimizerOptions& options = {},
                       SourceLocation where = SourceLocation::current())
      : DistributedOptimizer(
            std::make_shared<Optimizer>(Optimizer{std::move(slots), std::move(step)}), options,
            where) {}

  /// Says that the gradient of slot `index` is complete for this backward pass; its reduction
  /// starts at once while other layers are still being computed. Optional: without any call all
  /// gradients are reduced by step(). Once a program has called it, a gradient that is not
  /// announced in a step counts as missing and contributes zeros.
  /// Does not block. Errors: invalid_argument if announced more often than passes_per_step.
  void ready(std::size_t index, SourceLocation where = SourceLocation::current()) {
    reducer_.ready(index, where);
  }

  /// Waits until every gradient holds the result of all ranks, so that it can be clipped or
  /// inspected; the next step() does not reduce again. Blocks.
  void synchronize(SourceLocation where = SourceLocation::current()) {
    reducer_.synchronize(where);
  }

  /// synchronize() unless that was done, then the optimizer's own step. Blocks.
  void step(SourceLocation where = SourceLocation::current()) {
    reducer_.synchronize(where);
    OptimizerAdapter<Optimizer>::step(*optimizer_);
    reducer_.begin_step();
  }

  /// The wrapped optimizer.
  Optimizer* operator->() { return optimizer_.get(); }
  Optimizer& operator*() { return *optimizer_; }

 private:
  DistributedOptimizer(std::shared_ptr<Optimizer> optimizer, const OptimizerOptions& options,
                       SourceLocation where)
      : optimizer_(std::move(optimizer)),
        reducer_(OptimizerAdapter<Optimizer>::slots(*optimizer_), options, where) {}

  std::shared_ptr<Optimizer> optimizer_;
  GradientReducer reducer_;
};

template <typename Step>
DistributedOptimizer(std::vector<Slot>, Step) -> DistributedOptimizer<FunctionOptimizer>;
template <typename Step>
DistributedOptimizer(std::vector<Slot>, Step, OptimizerOptions)
    -> DistributedOptimizer<FunctionOptimizer>;

}  // namespace ringleader
