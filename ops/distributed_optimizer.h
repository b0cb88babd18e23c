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
// control messages. The wrapper does not compute gradients, and it does not change what the
// optimizer does with them. GradientMeaning may be omitted if the optimizer's adapter
// (optimizer_adapter.h) provides it.
#pragma once

#include <ringleader/core/trace.h>
#include <ringleader/ops/gradient_reducer.h>
#include <ringleader/ops/optimizer_adapter.h>
#include <ringleader/ops/optimizer_state.h>
#include <ringleader/ops/slot.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
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
  /// Errors: mismatch, naming the first parameter that differs between ranks; invalid_argument if a
  /// gradient does not fit its parameter, a name is repeated, or a parameter is already wrapped.
  explicit DistributedOptimizer(Optimizer& optimizer, const OptimizerOptions& options = {},
                                SourceLocation where = SourceLocation::current())
      : DistributedOptimizer(optimizer, detail::meaning_of<Optimizer>(), options, where) {}

  /// The same, with the meaning of the gradients.
  DistributedOptimizer(Optimizer& optimizer, GradientMeaning meaning,
                       const OptimizerOptions& options = {},
                       SourceLocation where = SourceLocation::current())
      : DistributedOptimizer(std::shared_ptr<Optimizer>(&optimizer, [](Optimizer*) {}), meaning,
                             options, where) {}

  /// Wraps an update function over flat arrays: either `step()`, or `step(slots)` if the function
  /// can step any slots it is given, each element by itself. The slots' memory must outlive the
  /// wrapper.
  template <typename Step>
  DistributedOptimizer(std::vector<Slot> slots, Step update, GradientMeaning meaning,
                       const OptimizerOptions& options = {},
                       SourceLocation where = SourceLocation::current())
      : DistributedOptimizer(
            std::make_shared<Optimizer>(Optimizer{std::move(slots), std::move(update)}), meaning,
            options, where) {}

  /// Owns the optimizer: see distributed().
  DistributedOptimizer(std::unique_ptr<Optimizer> optimizer, const OptimizerOptions& options,
                       SourceLocation where)
      : DistributedOptimizer(std::shared_ptr<Optimizer>(std::move(optimizer)),
                             detail::meaning_of<Optimizer>(), options, where) {}

  ~DistributedOptimizer() {
    if (reducer_ == nullptr) return;  // it was moved from
    if constexpr (detail::can_be_sharded<Optimizer>()) {
      if (sharded_) adapter_->unshard(*optimizer_);
    }
  }
  /// Operations in flight go on. Only the new object may be used.
  DistributedOptimizer(DistributedOptimizer&&) noexcept = default;
  DistributedOptimizer& operator=(DistributedOptimizer&&) = delete;

  /// Announces that the gradient of slot `index` is complete for this backward pass. Its reduction
  /// starts at once, while other layers are still being computed. (In small models, with up to
  /// 64 KiB of gradients, it starts when all gradients are complete.) Optional: without any call,
  /// step() reduces all gradients. Once a program (or the optimizer's adapter) has called it, a
  /// gradient that is not announced in a step counts as missing and contributes zeros.
  ///
  /// The first call after synchronize() begins another step: the program has skipped step(). If a
  /// gradient is announced again before all others have been announced, the previous pass counts as
  /// failed: its step is given up, as by abandon_step(), which is the better way. (Gradients that
  /// are sums, and virtual workers: invalid_argument.) Blocks only where a step is given up.
  /// Errors: invalid_argument if a gradient is announced more often than passes_per_step; the step
  /// is then given up.
  void ready(std::size_t index, SourceLocation where = SourceLocation::current()) {
    reducer_->ready(index, where);
  }

  /// While the guard lives, gradients that become ready stay on this rank, and the program
  /// accumulates them. The next pass without a guard reduces everything that has been added up. A
  /// program that wants the mean over the passes divides by their number itself.
  [[nodiscard]] NoSyncGuard no_sync() { return NoSyncGuard(*reducer_); }

  /// For ranks with different numbers of steps. The guard's destructor waits until all ranks have
  /// reached it; meanwhile this rank contributes zeros to the others' steps. Then all ranks
  /// continue with the parameters and the optimizer's state of the rank that came last. If ranks
  /// have made different numbers of steps and the state is not known (see
  /// OptimizerOptions::stateless), the next step() throws invalid_argument. With sharding, this
  /// rank meanwhile steps its shard of the state along with the others, so the optimizer's settings
  /// (its learning rate) must not change, and the others can neither clip nor use a closure.
  ///
  ///   { const auto guard = optimizer.join(); while (data.next()) { ...; optimizer.step(); } }
  [[nodiscard]] JoinGuard join() { return JoinGuard(*reducer_); }

  /// With OptimizerOptions::virtual_workers: calls `compute_gradients` with the number of each of
  /// this rank's workers, one after another. If it throws, the step is given up.
  ///
  ///   optimizer.virtual_workers([&](int worker) { compute_gradients(batch_of(worker)); });
  ///
  /// Errors: invalid_argument without that option, or while gradients are in flight.
  template <typename Compute>
  void virtual_workers(Compute&& compute_gradients) {
    const auto [first, count] = reducer_->begin_workers();
    Transaction transaction(*reducer_);
    for (int worker = first; worker < first + count; ++worker) {
      compute_gradients(worker);
      reducer_->end_worker();
    }
    transaction.done = true;
  }

  /// Waits until every gradient holds the result of all ranks, so that the program can clip or
  /// inspect it. The next step() does not reduce again. A program may skip that step(), if it does
  /// so on all ranks. Blocks.
  /// Errors: mismatch, on all ranks, if some ranks give this step up or have skipped the previous
  /// one.
  void synchronize(SourceLocation where = SourceLocation::current()) {
    reducer_->check(where);
    reducer_->synchronize(where, false);
  }

  /// Gives up the step that has begun: waits for gradients in flight and does not use them. The
  /// next announcement begins another step. The contents of the gradients are undefined.
  /// Collective: either all ranks give the step up or none does. If a step has begun, zero_grad()
  /// of this wrapper does the same, and so does the first use after an exception from step().
  /// Blocks.
  /// Errors: mismatch, on all ranks, if other ranks do not give it up.
  void abandon_step(SourceLocation where = SourceLocation::current()) {
    reducer_->abandon_step(where);
  }

  /// Calls synchronize(), then scales all gradients so that their global 2-norm (the root of the
  /// sum of the squares of all elements) is at most `norm_max` (Pascanu et al. 2013). Returns the
  /// norm before scaling, equal on all ranks. If it is not finite, nothing is scaled, and with
  /// `error_if_nonfinite` all ranks throw. Blocks. Errors: invalid_argument if `norm_max` is
  /// negative or not a number.
  double clip_gradient_norm(double norm_max, bool error_if_nonfinite = false,
                            SourceLocation where = SourceLocation::current()) {
    reducer_->check(where);
    return reducer_->clip_norm(norm_max, error_if_nonfinite, where);
  }

  /// Calls synchronize(), unless that was done, then the optimizer's own step. If that throws, the
  /// step is given up. Blocks.
  /// Errors: invalid_argument if another thread is in step(), inside no_sync(), or, naming the
  /// parameter, if a parameter has changed since it was wrapped and the change cannot be followed;
  /// mismatch as for synchronize(), or if ranks disagree about the optimizer's settings.
  void step(SourceLocation where = SourceLocation::current()) {
    const StepGuard guard(*stepping_, where);
    reducer_->check(where);
    Transaction transaction(*reducer_);
    collect(where);
    update();
    reducer_->begin_step(where);
    transaction.done = true;
  }

  /// For optimizers that evaluate the loss themselves (L-BFGS): calls the optimizer's step with a
  /// function that calls `evaluate` and then combines gradients and loss over all ranks. Returns
  /// what the optimizer's step returns. Blocks.
  template <typename Closure, typename = std::enable_if_t<std::is_invocable_v<Closure&>>>
  auto step(Closure&& evaluate, SourceLocation where = SourceLocation::current()) {
    const StepGuard guard(*stepping_, where);
    reducer_->check(where);
    Transaction transaction(*reducer_);
    const TraceRange range("optimizer");
    bool evaluated = false;
    auto result = adapter_->step(*optimizer_, [&] {
      // Before it evaluates again, all ranks get what it has updated since.
      if (std::exchange(evaluated, true)) reducer_->begin_step(where);
      auto loss = evaluate();
      collect(where);
      if constexpr (std::is_arithmetic_v<decltype(loss)>) {
        reducer_->combine_loss(TensorView(&loss, {}), where);
      } else {
        reducer_->combine_loss(adapter_->loss(loss), where);
      }
      return loss;
    });
    if (evaluated) reducer_->begin_step(where);
    transaction.done = true;
    return result;
  }

  /// The optimizer's own zero_grad(), for programs in which this object replaces the optimizer.
  /// Gives up a step that has begun.
  template <typename O = Optimizer>
  auto zero_grad(SourceLocation where = SourceLocation::current())
      -> decltype(std::declval<O&>().zero_grad()) {
    reducer_->zero(where);
    if constexpr (detail::Has<detail::ZeroWholeOf, Optimizer>::value) {
      if (sharded_) return adapter_->zero_whole();
    }
    return optimizer_->zero_grad();
  }

  /// True on every rank if all ranks have the same bits in the parameters. Collective, blocks.
  bool parameters_identical(SourceLocation where = SourceLocation::current()) {
    return ringleader::parameters_identical(reducer_->parameters(), options_.process_set, where);
  }
  /// The same for the optimizer's state. Collective, blocks. Errors: unsupported if the state is
  /// not known or is divided among the ranks.
  bool state_identical(SourceLocation where = SourceLocation::current()) {
    const auto state = sharded_ ? std::nullopt : detail::state_of(*adapter_, *optimizer_);
    if (!state) detail::throw_state_unknown("state_identical()", options_.name);
    return identical(options_.name + "/state", *state, options_.process_set, where);
  }

  /// Overwrites the optimizer's state with that of the root, a world rank. Collective, blocks.
  /// Errors: unsupported if the state is not known, unless the optimizer has not made a step yet.
  void broadcast_state(int root = 0, SourceLocation where = SourceLocation::current()) {
    if (hand_over(*adapter_, *optimizer_, options_, root, where) || options_.stateless) return;
    if (reducer_->steps() > 0 || sharded_) {
      detail::throw_state_unknown("broadcast_optimizer_state()", options_.name);
    }
  }

  /// The wrapped optimizer.
  Optimizer* operator->() { return optimizer_.get(); }
  /// The wrapped optimizer.
  Optimizer& operator*() { return *optimizer_; }

 private:
  using Adapter = OptimizerAdapter<Optimizer>;

  /// However a step ends, the next one starts clean.
  struct Transaction {
    explicit Transaction(GradientReducer& owner) : reducer(owner) {}
    ~Transaction() {
      if (!done) reducer.drop_step();
    }
    Transaction(const Transaction&) = delete;
    Transaction& operator=(const Transaction&) = delete;
    GradientReducer& reducer;
    bool done = false;
  };

  DistributedOptimizer(std::shared_ptr<Optimizer> optimizer, GradientMeaning meaning,
                       const OptimizerOptions& options, SourceLocation where)
      : optimizer_(std::move(optimizer)),
        adapter_(std::make_shared<Adapter>()),
        stepping_(std::make_shared<std::atomic<bool>>(false)),
        options_(options),
        sharded_(options.sharding == Sharding::optimizer_state) {
    if (sharded_ && !detail::can_be_sharded<Optimizer>()) refuse_sharding();
    reducer_ = std::make_shared<GradientReducer>(adapter_->slots(*optimizer_), meaning, options,
                                                 where, hooks());
    if constexpr (detail::Has<detail::ScalarsOf, Optimizer>::value) {
      const auto scalars = adapter_->scalars(*optimizer_);
      if (!scalars.empty()) compare_scalars(scalars, options, where);
    }
    if constexpr (detail::can_be_sharded<Optimizer>()) {
      if (sharded_) adapter_->shard(*optimizer_, reducer_->stepped());
    }
    if (options.broadcast_parameters && !sharded_) {
      hand_over(*adapter_, *optimizer_, options, options.root, where);
    }
    watch_backward(where);
  }

  [[noreturn]] void refuse_sharding() const {
    throw Error(Status(Code::invalid_argument,
                       "DistributedOptimizer '" + options_.name +
                           "': its state cannot be divided among the ranks, because the optimizer "
                           "is not known to update every element by itself (L-BFGS, LAMB and Muon "
                           "do not); leave sharding at none"));
  }

  static bool hand_over(Adapter& adapter, Optimizer& optimizer, const OptimizerOptions& options,
                        int root, SourceLocation where) {
    return detail::hand_over_state(adapter, optimizer, options.name, root, options.process_set,
                                   where);
  }

  /// The hooks capture what this object shares, not its address, because it may be moved.
  ReducerHooks hooks() {
    ReducerHooks hooks;
    const std::shared_ptr<Optimizer> optimizer = optimizer_;
    const std::shared_ptr<Adapter> adapter = adapter_;
    if constexpr (detail::Has<detail::LookOf, Optimizer>::value) {
      hooks.look = [=](std::vector<SlotNow>& now) { adapter->look(*optimizer, now); };
    }
    if constexpr (detail::Has<detail::MissingOf, Optimizer>::value) {
      hooks.missing = [=](std::size_t index) { return adapter->missing(index); };
    }
    if constexpr (detail::Has<detail::ScalarsOf, Optimizer>::value) {
      if (!adapter->scalars(*optimizer).empty()) {
        hooks.scalars = [=] { return adapter->scalars(*optimizer); };
      }
    }
    if constexpr (detail::can_be_sharded<Optimizer>()) {
      hooks.update = [=]([[maybe_unused]] const std::vector<bool>& used) {
        if constexpr (detail::Has<detail::SetUsedOf, Optimizer>::value) adapter->set_used(used);
        adapter->step(*optimizer);
      };
    }
    hooks.hand_over = [=, options = options_](int root) {
      return hand_over(*adapter, *optimizer, options, root, {});
    };
    return hooks;
  }

  void watch_backward([[maybe_unused]] SourceLocation where) {
    if constexpr (detail::Has<detail::OnBackwardOf, Optimizer>::value) {
      const std::shared_ptr<GradientReducer> reducer = reducer_;
      const std::shared_ptr<Adapter> adapter = adapter_;
      BackwardEvents events;
      events.ready = [=](std::size_t index) { reducer->ready(index, where); };
      events.ended = [=] { return reducer->submit_pass(where); };
      events.wait = [=] {
        reducer->synchronize(where);
        share_use(*adapter, *reducer);
      };
      events.failed = [=] { reducer->pass_failed(); };
      backward_ = adapter_->on_backward(*optimizer_, std::move(events));
    }
  }

  static void share_use([[maybe_unused]] Adapter& adapter,
                        [[maybe_unused]] GradientReducer& reducer) {
    if constexpr (detail::Has<detail::SetUsedOf, Optimizer>::value) {
      adapter.set_used(reducer.used());
    }
  }

  void update() {
    const TraceRange range("optimizer");
    adapter_->step(*optimizer_);
  }

  void collect(SourceLocation where) {
    reducer_->synchronize(where);
    share_use(*adapter_, *reducer_);
  }

  std::shared_ptr<Optimizer> optimizer_;
  std::shared_ptr<Adapter> adapter_;
  std::shared_ptr<std::atomic<bool>> stepping_;
  OptimizerOptions options_;
  bool sharded_ = false;
  std::shared_ptr<GradientReducer> reducer_;
  std::shared_ptr<void> backward_;
};

/// Overwrites the state of the wrapped optimizer with the root's. Collective, blocks.
template <typename Optimizer>
void broadcast_optimizer_state(DistributedOptimizer<Optimizer>& optimizer, int root = 0,
                               SourceLocation where = SourceLocation::current()) {
  optimizer.broadcast_state(root, where);
}

/// Wraps an update function over slots.
template <typename Step>
DistributedOptimizer(std::vector<Slot>, Step, GradientMeaning)
    -> DistributedOptimizer<detail::SlotStepper<Step>>;
/// The same with options.
template <typename Step>
DistributedOptimizer(std::vector<Slot>, Step, GradientMeaning, OptimizerOptions)
    -> DistributedOptimizer<detail::SlotStepper<Step>>;

namespace detail {

template <typename Optimizer, typename First, typename... Arguments>
DistributedOptimizer<Optimizer> make_distributed(SourceLocation where, First&& first,
                                                 Arguments&&... arguments) {
  if constexpr (std::is_same_v<std::decay_t<First>, OptimizerOptions>) {
    return DistributedOptimizer<Optimizer>(
        std::make_unique<Optimizer>(std::forward<Arguments>(arguments)...), first, where);
  } else {
    return DistributedOptimizer<Optimizer>(
        std::make_unique<Optimizer>(std::forward<First>(first),
                                    std::forward<Arguments>(arguments)...),
        {}, where);
  }
}

}  // namespace detail

/// Makes an optimizer and wraps it. The arguments are those of the optimizer's constructor, up to
/// four, optionally preceded by OptimizerOptions.
///
///   auto optimizer = ringleader::distributed<torch::optim::SGD>(model->parameters(), 0.05);
///   auto other = ringleader::distributed<torch::optim::SGD>(options, model->parameters(), 0.05);
///
/// Errors name the place of the call.
template <typename Optimizer, typename A>
DistributedOptimizer<Optimizer> distributed(A&& a,
                                            SourceLocation where = SourceLocation::current()) {
  return detail::make_distributed<Optimizer>(where, std::forward<A>(a));
}
/// With two arguments of the constructor.
template <typename Optimizer, typename A, typename B>
DistributedOptimizer<Optimizer> distributed(A&& a, B&& b,
                                            SourceLocation where = SourceLocation::current()) {
  return detail::make_distributed<Optimizer>(where, std::forward<A>(a), std::forward<B>(b));
}
/// With three.
template <typename Optimizer, typename A, typename B, typename C>
DistributedOptimizer<Optimizer> distributed(A&& a, B&& b, C&& c,
                                            SourceLocation where = SourceLocation::current()) {
  return detail::make_distributed<Optimizer>(where, std::forward<A>(a), std::forward<B>(b),
                                             std::forward<C>(c));
}
/// With four.
template <typename Optimizer, typename A, typename B, typename C, typename D>
DistributedOptimizer<Optimizer> distributed(A&& a, B&& b, C&& c, D&& d,
                                            SourceLocation where = SourceLocation::current()) {
  return detail::make_distributed<Optimizer>(where, std::forward<A>(a), std::forward<B>(b),
                                             std::forward<C>(c), std::forward<D>(d));
}
/// With four after OptimizerOptions.
template <typename Optimizer, typename A, typename B, typename C, typename D, typename E>
DistributedOptimizer<Optimizer> distributed(A&& a, B&& b, C&& c, D&& d, E&& e,
                                            SourceLocation where = SourceLocation::current()) {
  return detail::make_distributed<Optimizer>(where, std::forward<A>(a), std::forward<B>(b),
                                             std::forward<C>(c), std::forward<D>(d),
                                             std::forward<E>(e));
}

}  // namespace ringleader
