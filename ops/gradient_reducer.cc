// SPDX-License-Identifier: Apache-2.0
//
// The members of GradientReducer, which pass on to pipeline/gradient_reducer_impl.h, and the guards
// of DistributedOptimizer.
#include <ringleader/ops/gradient_reducer.h>

#include <ringleader/ops/collectives.h>
#include <ringleader/ops/pipeline/combinations.h>
#include <ringleader/ops/pipeline/gradient_reducer_impl.h>
#include <ringleader/ops/pipeline/optimizer_checks.h>

#include <fmt/core.h>

#include <exception>
#include <utility>

namespace ringleader {
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
