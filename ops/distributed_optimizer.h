// SPDX-License-Identifier: Apache-2.0
//
// DistributedOptimizer: wraps the optimizer that a program already has, so that every step uses
// the gradients of all ranks.
//
//   ringleader::init();
//   my::Sgd sgd(...);
//   ringleader::DistributedOptimizer optimizer(sgd, ringleader::GradientMeaning::mean);
//   ...
//   optimizer.step();                                  // gradients are averaged, then sgd.step()
//
// Wrapping broadcasts the parameters and registers the gradients as a plan, so that steps need no
// control messages. It does not compute gradients, and it does not change what the optimizer does
// with them. What the meaning of the gradients is need not be said if the optimizer's adapter
// (optimizer_adapter.h) knows it.
#pragma once

#include <ringleader/core/trace.h>
#include <ringleader/ops/gradient_reducer.h>
#include <ringleader/ops/optimizer_adapter.h>
#include <ringleader/ops/sharded_state.h>
#include <ringleader/ops/slot.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
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
  /// gradient does not fit its parameter, a name is repeated, or a parameter is wrapped already.
  explicit DistributedOptimizer(Optimizer& optimizer, const OptimizerOptions& options = {},
                                SourceLocation where = SourceLocation::current())
      : DistributedOptimizer(optimizer, detail::meaning_of<Optimizer>(), options, where) {}

  /// The same, saying what the gradients mean.
  DistributedOptimizer(Optimizer& optimizer, GradientMeaning meaning,
                       const OptimizerOptions& options = {},
                       SourceLocation where = SourceLocation::current())
      : DistributedOptimizer(std::shared_ptr<Optimizer>(&optimizer, [](Optimizer*) {}), meaning,
                             options, where) {}

  /// Wraps an update function over flat arrays: `step()` or, if it can step any slots that it is
  /// given, each element by itself, `step(slots)`. The slots' memory must outlive the wrapper.
  template <typename Step>
  DistributedOptimizer(std::vector<Slot> slots, Step step, GradientMeaning meaning,
                       const OptimizerOptions& options = {},
                       SourceLocation where = SourceLocation::current())
      : DistributedOptimizer(
            std::make_shared<Optimizer>(Optimizer{std::move(slots), std::move(step)}), meaning,
            options, where) {}

  /// Makes the optimizer itself: see distributed().
  DistributedOptimizer(std::unique_ptr<Optimizer> optimizer, const OptimizerOptions& options,
                       SourceLocation where)
      : DistributedOptimizer(std::shared_ptr<Optimizer>(std::move(optimizer)),
                             detail::meaning_of<Optimizer>(), options, where) {}

  ~DistributedOptimizer() {
    if constexpr (detail::can_be_sharded<Optimizer>()) {
      if (shards_ != nullptr) adapter_.unshard(*optimizer_);
    }
  }
  DistributedOptimizer(DistributedOptimizer&&) noexcept = default;
  DistributedOptimizer& operator=(DistributedOptimizer&&) = delete;

  /// Says that the gradient of slot `index` is complete for this backward pass; its reduction
  /// starts at once while other layers are still being computed. Optional: without any call all
  /// gradients are reduced by step(). Once a program (or the optimizer's adapter) has called it, a
  /// gradient that is not announced in a step counts as missing and contributes zeros.
  /// Does not block. Errors: invalid_argument if announced more often than passes_per_step.
  void ready(std::size_t index, SourceLocation where = SourceLocation::current()) {
    shards_ == nullptr ? reducer_->ready(index, where) : shards_->ready(index, where);
  }

  /// Until the guard is gone, gradients that become ready stay here: the program accumulates them,
  /// and those of the next pass without a guard are reduced with all that has been added up. The
  /// program divides by the number of passes where it wants their mean.
  [[nodiscard]] NoSyncGuard no_sync() { return NoSyncGuard(reducer("no_sync()")); }

  /// For ranks with different numbers of steps: the guard's end waits until all ranks have come
  /// there, while this rank contributes zeros to the others' steps; then all continue with the
  /// parameters of the rank that came last.
  ///
  ///   { const auto guard = optimizer.join(); while (data.next()) { ...; optimizer.step(); } }
  [[nodiscard]] JoinGuard join() { return JoinGuard(reducer("join()")); }

  /// With `virtual_workers`: the numbers of this rank's, for a loop that computes the gradients of
  /// one after another. Leaving the loop early gives the step up.
  ///
  ///   for (int worker : optimizer.virtual_workers()) compute_gradients(batch_of(worker));
  VirtualWorkers virtual_workers() { return VirtualWorkers(reducer("virtual_workers()")); }

  /// Waits until every gradient holds the result of all ranks, so that it can be clipped or
  /// inspected; the next step() does not reduce again. Blocks.
  void synchronize(SourceLocation where = SourceLocation::current()) {
    shards_ == nullptr ? reducer_->synchronize(where) : shards_->synchronize(where);
  }

  /// synchronize(), then scales all gradients so that the root of the sum of the squares of all
  /// their elements is at most `norm_max` (Pascanu et al. 2013). Returns what it was. Blocks.
  double clip_gradient_norm(double norm_max, SourceLocation where = SourceLocation::current()) {
    return reducer("clip_gradient_norm()").clip_norm(norm_max, where);
  }

  /// synchronize() unless that was done, then the optimizer's own step. Blocks.
  /// Errors: invalid_argument from a second thread at the same time, inside no_sync(), or if the
  /// optimizer has other parameters than when it was wrapped.
  void step(SourceLocation where = SourceLocation::current()) {
    const StepGuard guard = begin(where);
    if (shards_ != nullptr) {
      shards_->synchronize(where);
      update();
      return shards_->gather(where);
    }
    collect(where);
    update();
    reducer_->begin_step();
  }

  /// For optimizers that evaluate the loss themselves (L-BFGS): calls their step with a function
  /// that calls `evaluate`, then makes gradients and loss those of all ranks. Returns what their
  /// step returns. Blocks.
  template <typename Closure, typename = std::enable_if_t<std::is_invocable_v<Closure&>>>
  auto step(Closure&& evaluate, SourceLocation where = SourceLocation::current()) {
    reducer("step(closure)");
    const StepGuard guard = begin(where);
    const TraceRange range("optimizer");
    return adapter_.step(*optimizer_, [&] {
      auto loss = evaluate();
      collect(where);
      if constexpr (std::is_arithmetic_v<decltype(loss)>) {
        reducer_->combine_loss(TensorView(&loss, {}), where);
      } else {
        reducer_->combine_loss(adapter_.loss(loss), where);
      }
      reducer_->begin_step();
      return loss;
    });
  }

  /// The optimizer's own, for programs in which this object stands where it stood.
  template <typename O = Optimizer>
  auto zero_grad() -> decltype(std::declval<O&>().zero_grad()) {
    if (shards_ != nullptr) return shards_->zero_gradients();
    return optimizer_->zero_grad();
  }

  /// The wrapped optimizer.
  Optimizer* operator->() { return optimizer_.get(); }
  Optimizer& operator*() { return *optimizer_; }

 private:
  void update() {
    const TraceRange range("optimizer");
    adapter_.step(*optimizer_);
  }

  DistributedOptimizer(std::shared_ptr<Optimizer> optimizer, GradientMeaning meaning,
                       const OptimizerOptions& options, SourceLocation where)
      : optimizer_(std::move(optimizer)), stepping_(std::make_shared<std::atomic<bool>>(false)) {
    std::vector<Slot> slots = adapter_.slots(*optimizer_);
    if (options.sharding == Sharding::optimizer_state) {
      start_shards(std::move(slots), meaning, options, where);
      return;
    }
    reducer_ =
        std::make_shared<GradientReducer>(std::move(slots), meaning, options, where, kExchangesUse);
    if constexpr (detail::Has<detail::ScalarsOf, Optimizer>::value) {
      reducer_->compare(adapter_.scalars(*optimizer_), where);
    }
    announce_to(*reducer_, where);
  }

  static constexpr bool kExchangesUse = detail::Has<detail::SetUsedOf, Optimizer>::value;

  void start_shards(std::vector<Slot> slots, GradientMeaning meaning,
                    const OptimizerOptions& options, SourceLocation where) {
    if constexpr (detail::can_be_sharded<Optimizer>()) {
      shards_ = std::make_shared<ShardedState>(std::move(slots), meaning, options, where);
      adapter_.shard(*optimizer_, shards_->shards());
      announce_to(*shards_, where);
    } else {
      throw Error(
          Status(Code::invalid_argument,
                 "DistributedOptimizer '" + options.name +
                     "': its state cannot be divided among the ranks, because the optimizer "
                     "is not known to update every element by itself (L-BFGS, LAMB and Muon "
                     "do not); leave sharding at none"));
    }
  }

  /// Hooks may outlive this object's address, not that of `receiver`.
  template <typename Receiver>
  void announce_to(Receiver& receiver, SourceLocation where) {
    if constexpr (detail::Has<detail::OnReadyOf, Optimizer>::value) {
      hooks_ = adapter_.on_ready(
          *optimizer_, [&receiver, where](std::size_t index) { receiver.ready(index, where); });
    }
  }

  GradientReducer& reducer(const char* member) {
    if (reducer_ != nullptr) return *reducer_;
    throw Error(Status(Code::unsupported, std::string(member) + " cannot be used with sharding"));
  }

  void collect(SourceLocation where) {
    reducer_->synchronize(where);
    if constexpr (kExchangesUse) adapter_.set_used(reducer_->used());
  }

  StepGuard begin(SourceLocation where) {
    if constexpr (detail::Has<detail::CountOf, Optimizer>::value) {
      if (reducer_ != nullptr) reducer_->check_count(adapter_.count(*optimizer_));
    }
    return StepGuard(*stepping_, where);
  }

  std::shared_ptr<Optimizer> optimizer_;
  OptimizerAdapter<Optimizer> adapter_;
  std::shared_ptr<std::atomic<bool>> stepping_;
  std::shared_ptr<GradientReducer> reducer_;  ///< null with shards
  std::shared_ptr<ShardedState> shards_;      ///< null without
  std::shared_ptr<void> hooks_;
};

template <typename Step>
DistributedOptimizer(std::vector<Slot>, Step, GradientMeaning)
    -> DistributedOptimizer<detail::SlotStepper<Step>>;
template <typename Step>
DistributedOptimizer(std::vector<Slot>, Step, GradientMeaning, OptimizerOptions)
    -> DistributedOptimizer<detail::SlotStepper<Step>>;

/// Makes an optimizer and wraps it; `arguments` are those of the optimizer's constructor.
///
///   auto optimizer = ringleader::distributed<torch::optim::SGD>(model->parameters(), 0.05);
template <typename Optimizer, typename... Arguments>
DistributedOptimizer<Optimizer> distributed(Arguments&&... arguments) {
  return DistributedOptimizer<Optimizer>(
      std::make_unique<Optimizer>(std::forward<Arguments>(arguments)...), {},
      SourceLocation::current());
}

}  // namespace ringleader
