// SPDX-License-Identifier: Apache-2.0
//
// The small members of GradientReducer, and the guards of DistributedOptimizer.
#include <ringleader/core/number.h>
#include <ringleader/core/types.h>
#include <ringleader/ops/broadcast.h>
#include <ringleader/ops/collectives.h>
#include <ringleader/ops/current_session.h>
#include <ringleader/ops/gradient_reducer_impl.h>
#include <ringleader/ops/optimizer_checks.h>

#include <fmt/core.h>

#include <cmath>
#include <exception>
#include <span>

namespace ringleader {
namespace {

double sum_of_squares(const TensorView& tensor) {
  double sum = 0;
  with_type(tensor.dtype(), [&](auto element) {
    using T = decltype(element);
    const auto* const values = static_cast<const T*>(tensor.data());
    for (std::int64_t i = 0; i < tensor.count(); ++i) {
      const double value = to_double(values[i]);
      sum += value * value;
    }
  });
  return sum;
}

void scale(const TensorView& tensor, double factor) {
  with_type(tensor.dtype(), [&](auto element) {
    using T = decltype(element);
    auto* const values = static_cast<T*>(tensor.data());
    for (std::int64_t i = 0; i < tensor.count(); ++i) {
      values[i] = from_double<T>(to_double(values[i]) * factor);
    }
  });
}

double clip_norm_on_device(const std::vector<TensorView>& gradients, double norm_max) {
  const std::shared_ptr<DevicePort> device = current_device();
  const Result<double> squares = device->sum_of_squares(gradients);
  throw_if_error(squares.status());
  const double norm = std::sqrt(*squares);
  if (norm > norm_max) {
    for (const TensorView& gradient : gradients) {
      throw_if_error(device->multiply(gradient, norm_max / norm));
    }
  }
  return norm;
}

}  // namespace

GradientReducer::GradientReducer(std::vector<Slot> slots, GradientMeaning meaning,
                                 const OptimizerOptions& options, SourceLocation where,
                                 bool exchange_use)
    : impl_(std::make_unique<Impl>(std::move(slots), meaning, options, exchange_use, where)) {}

GradientReducer::~GradientReducer() = default;

void GradientReducer::ready(std::size_t index, SourceLocation where) { impl_->ready(index, where); }
void GradientReducer::synchronize(SourceLocation where) { impl_->synchronize(where); }
void GradientReducer::begin_step() { impl_->begin_step(); }
std::vector<bool> GradientReducer::used() const { return impl_->used(); }

double GradientReducer::clip_norm(double norm_max, SourceLocation where) {
  impl_->synchronize(where);
  std::vector<TensorView> gradients;
  for (const Slot& slot : std::span(impl_->slots()).first(impl_->parameters())) {
    gradients.push_back(slot.gradient);
  }
  if (gradients[0].device() != Device::host) return clip_norm_on_device(gradients, norm_max);
  double squares = 0;
  for (const TensorView& gradient : gradients) squares += sum_of_squares(gradient);
  const double norm = std::sqrt(squares);
  // Written so that a norm that is not a number scales nothing.
  if (norm > norm_max) {
    for (const TensorView& gradient : gradients) scale(gradient, norm_max / norm);
  }
  return norm;
}

void GradientReducer::combine_loss(const TensorView& loss, SourceLocation where) {
  const OptimizerOptions& options = impl_->options();
  ReduceOptions reduce;
  reduce.process_set = options.process_set;
  reduce.average_over_contributors = options.average_over_contributors;
  const bool mean = impl_->meaning() == GradientMeaning::mean;
  allreduce(options.name + "/loss", loss, mean ? ReduceOp::average : ReduceOp::sum, reduce, where);
}

void GradientReducer::compare(const std::vector<std::pair<std::string, double>>& scalars,
                              SourceLocation where) {
  std::vector<double> own;
  for (const auto& scalar : scalars) own.push_back(scalar.second);
  const OptimizerOptions& options = impl_->options();
  const Output all = allgather(options.name + "/scalars", own, options.process_set, where);
  const std::vector<double> values = all.to_vector<double>();
  const std::vector<int> ranks = options.process_set.ranks();
  for (std::size_t rank = 1; rank < ranks.size(); ++rank) {
    for (std::size_t i = 0; i < own.size() && all.rows()[rank] == all.rows()[0]; ++i) {
      const double theirs = values[rank * own.size() + i];
      if (theirs == values[i]) continue;
      throw Error(Status(
          Code::mismatch,
          fmt::format("DistributedOptimizer '{}': ranks disagree about {}: rank {} has {}, rank {} "
                      "has {}; make it equal on all ranks",
                      options.name, scalars[i].first, ranks[0], values[i], ranks[rank], theirs)));
    }
  }
}

void GradientReducer::check_count(std::size_t count) const {
  if (count == impl_->parameters()) return;
  throw Error(Status(
      Code::invalid_argument,
      fmt::format("DistributedOptimizer '{}': the optimizer has {} parameters, and had {} when it "
                  "was wrapped; add parameters before, or wrap them with an optimizer of their own",
                  impl_->options().name, count, impl_->parameters())));
}

void GradientReducer::Impl::hold_back(bool value) {
  const std::lock_guard lock(mutex_);
  holding_back_ = value;
}

NoSyncGuard::NoSyncGuard(GradientReducer& reducer) : reducer_(*reducer.impl_) {
  if (reducer_.options().virtual_workers > 0) {
    throw Error(
        Status(Code::invalid_argument, "no_sync(): virtual workers accumulate gradients already"));
  }
  reducer_.hold_back(true);
}
NoSyncGuard::~NoSyncGuard() { reducer_.hold_back(false); }

JoinGuard::JoinGuard(GradientReducer& reducer)
    : reducer_(*reducer.impl_), exceptions_(std::uncaught_exceptions()) {}

JoinGuard::~JoinGuard() noexcept(false) {
  if (std::uncaught_exceptions() > exceptions_) return;
  const ProcessSet process_set = reducer_.options().process_set;
  const int last = ringleader::join(process_set);
  broadcast_parameters(reducer_.slots(), last, process_set);
}

StepGuard::StepGuard(std::atomic<bool>& stepping, SourceLocation where) : stepping_(stepping) {
  if (!stepping_.exchange(true)) return;
  throw Error(Status(Code::invalid_argument,
                     fmt::format("DistributedOptimizer: step() at {} while another thread is in "
                                 "step(); one thread at a time",
                                 to_string(where))));
}
StepGuard::~StepGuard() { stepping_ = false; }

VirtualWorkers::VirtualWorkers(GradientReducer& reducer) : reducer_(*reducer.impl_) {
  const OptimizerOptions& options = reducer_.options();
  if (options.virtual_workers == 0) {
    throw Error(
        Status(Code::invalid_argument, "virtual_workers(): set OptimizerOptions::virtual_workers"));
  }
  reducer_.begin_workers();
  first_ = options.process_set.rank() * reducer_.passes();
  last_ = first_ + reducer_.passes();
}

VirtualWorkers::Iterator& VirtualWorkers::Iterator::operator++() {
  ++worker_;
  reducer_->end_worker();
  return *this;
}

}  // namespace ringleader
