// SPDX-License-Identifier: Apache-2.0
//
// The small members of GradientReducer, and the guards of DistributedOptimizer.
#include <ringleader/ops/broadcast.h>
#include <ringleader/ops/collectives.h>
#include <ringleader/ops/pipeline/combinations.h>
#include <ringleader/ops/pipeline/exact_sum.h>
#include <ringleader/ops/pipeline/gradient_reducer_impl.h>
#include <ringleader/ops/pipeline/optimizer_checks.h>
#include <ringleader/ops/pipeline/scaling.h>
#include <ringleader/ops/session/current_session.h>

#include <fmt/core.h>

#include <cmath>
#include <exception>
#include <span>
#include <utility>

namespace ringleader {
namespace {

double norm_on_device(std::span<const Slot> slots) {
  std::vector<TensorView> gradients;
  for (const Slot& slot : slots) gradients.push_back(slot.gradient);
  const Result<double> squares = current_device()->sum_of_squares(gradients);
  throw_if_error(squares.status());
  return std::sqrt(*squares);
}

}  // namespace

GradientReducer::GradientReducer(std::vector<Slot> slots, GradientMeaning meaning,
                                 const OptimizerOptions& options, SourceLocation where,
                                 ReducerHooks hooks)
    : impl_(std::make_unique<Impl>(std::move(slots), meaning, options, std::move(hooks), where)) {}

GradientReducer::~GradientReducer() = default;

void GradientReducer::ready(std::size_t index, SourceLocation where) { impl_->ready(index, where); }
void GradientReducer::synchronize(SourceLocation where, bool for_step) {
  impl_->synchronize(for_step, where);
}
void GradientReducer::abandon_step(SourceLocation where) { impl_->abandon_step(where); }
void GradientReducer::begin_step(SourceLocation where) { impl_->begin_step(where); }
void GradientReducer::drop_step() noexcept { impl_->drop_step(); }
bool GradientReducer::submit_pass(SourceLocation where) { return impl_->submit_pass(where); }
void GradientReducer::pass_failed() noexcept { impl_->pass_failed(); }
void GradientReducer::zero(SourceLocation where) { impl_->zero(where); }
void GradientReducer::check(SourceLocation where) { impl_->check(where); }
std::vector<bool> GradientReducer::used() const { return impl_->used(); }
std::uint64_t GradientReducer::steps() const { return impl_->steps(); }
std::vector<Slot> GradientReducer::parameters() const { return impl_->parameter_slots(); }
std::vector<Slot> GradientReducer::stepped() const {
  return {impl_->stepped().begin(), impl_->stepped().end()};
}

double GradientReducer::clip_norm(double norm_max, bool error_if_nonfinite, SourceLocation where) {
  if (!(norm_max >= 0)) {
    refuse(impl_->options(),
           fmt::format("clip_gradient_norm({}): the norm must be a number that is not negative",
                       norm_max));
  }
  impl_->synchronize(false, where);
  const double norm = impl_->clip_norm(norm_max, where);
  if (error_if_nonfinite && !std::isfinite(norm)) {
    refuse(impl_->options(), fmt::format("the norm of the gradients is {}, on all ranks", norm));
  }
  return norm;
}

/// Gives the same bits however the gradients are divided among ranks.
double GradientReducer::Impl::clip_norm(double norm_max, SourceLocation where) {
  const std::lock_guard lock(mutex_);
  const std::span<const Slot> slots = stepped();
  const bool on_host = slots_[0].gradient.device() == Device::host;
  double norm = 0;
  if (on_host) {
    need_all(Feature::clipping);
    ExactSum squares;
    for (const Slot& slot : slots) squares.add_squares(slot.gradient);
    pipeline_->add_up(squares.digits(), where);
    norm = std::sqrt(squares.value());
  } else {
    norm = norm_on_device(slots);
  }
  // Never scale by a norm that is not finite: it would spread to all gradients.
  if (!std::isfinite(norm) || norm <= norm_max) return norm;
  for (const Slot& slot : slots) {
    if (on_host) {
      scale(slot.gradient, norm_max / norm);
    } else {
      throw_if_error(current_device()->multiply(slot.gradient, norm_max / norm));
    }
  }
  if (on_host) remember_gradients();
  return norm;
}

/// With sharding, a rank that has joined steps its shard and does not know what else the others do.
void GradientReducer::Impl::need_all(Feature feature) const {
  if (!sharded() || contributors_ == set_size_) return;
  refuse(options_, fmt::format("{} with sharding, while some rank has joined: that rank does not "
                               "know of it",
                               name_of(feature)));
}

std::pair<int, int> GradientReducer::begin_workers() {
  const OptimizerOptions& options = impl_->options();
  if (options.virtual_workers == 0) {
    refuse(options, "virtual_workers(): set OptimizerOptions::virtual_workers");
  }
  impl_->begin_workers();
  return {options.process_set.rank() * impl_->passes(), impl_->passes()};
}

void GradientReducer::end_worker() { impl_->end_worker(); }

void GradientReducer::combine_loss(const TensorView& loss, SourceLocation where) {
  impl_->need_all(Feature::closure);
  const OptimizerOptions& options = impl_->options();
  ReduceOptions reduce;
  reduce.process_set = options.process_set;
  reduce.average_over_contributors = options.average_over_contributors;
  allreduce(options.name + "/loss", loss, reduce_op_of(impl_->meaning()), reduce, where);
}

void compare_scalars(const std::vector<std::pair<std::string, double>>& scalars,
                     const OptimizerOptions& options, SourceLocation where) {
  std::vector<double> own;
  for (const auto& scalar : scalars) own.push_back(scalar.second);
  const Output all = allgather(options.name + "/scalars", own, options.process_set, where);
  const std::vector<double> values = all.to_vector<double>();
  const std::vector<int> ranks = options.process_set.ranks();
  const auto differ = [&](const std::string& what, double first, std::size_t rank, double other) {
    throw Error(Status(
        Code::mismatch,
        fmt::format("{} ({}): ranks disagree about {}: rank {} has {}, rank {} has {}; make it "
                    "equal on all ranks",
                    title_of(options), to_string(where), what, ranks[0], first, ranks[rank],
                    other)));
  };
  const auto count = static_cast<std::size_t>(all.rows()[0]);
  for (std::size_t rank = 1; rank < ranks.size(); ++rank) {
    if (all.rows()[rank] != all.rows()[0]) {
      differ("the number of its settings", static_cast<double>(count), rank,
             static_cast<double>(all.rows()[rank]));
    }
  }
  for (std::size_t rank = 1; rank < ranks.size(); ++rank) {
    for (std::size_t i = 0; i < count; ++i) {
      const double other = values[rank * count + i];
      // Two NaNs are no reason to stop.
      const bool equal = other == values[i] || (std::isnan(other) && std::isnan(values[i]));
      if (!equal) differ(scalars[i].first, values[i], rank, other);
    }
  }
}

void GradientReducer::Impl::hold_back(bool value) {
  const std::lock_guard lock(mutex_);
  holding_back_ = value;
}

NoSyncGuard::NoSyncGuard(GradientReducer& reducer) : reducer_(*reducer.impl_) {
  check_combination(Feature::no_sync, reducer_.options(),
                    reducer_.slots().front().gradient.device());
  reducer_.hold_back(true);
}
NoSyncGuard::~NoSyncGuard() { reducer_.hold_back(false); }

JoinGuard::JoinGuard(GradientReducer& reducer)
    : reducer_(reducer.impl_.get()), exceptions_(std::uncaught_exceptions()) {}
JoinGuard::JoinGuard(JoinGuard&& other) noexcept
    : reducer_(std::exchange(other.reducer_, nullptr)), exceptions_(other.exceptions_) {}

JoinGuard::~JoinGuard() noexcept(false) {
  if (reducer_ == nullptr || std::uncaught_exceptions() > exceptions_) return;
  reducer_->finish_join();
}

StepGuard::StepGuard(std::atomic<bool>& stepping, SourceLocation where) : stepping_(stepping) {
  if (!stepping_.exchange(true)) return;
  throw Error(Status(Code::invalid_argument,
                     fmt::format("DistributedOptimizer: step() at {} while another thread is in "
                                 "step(); one thread at a time",
                                 to_string(where))));
}
StepGuard::~StepGuard() { stepping_ = false; }

}  // namespace ringleader
