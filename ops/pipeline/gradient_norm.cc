// SPDX-License-Identifier: Apache-2.0
//
// Clipping by the norm of all ranks' gradients.
#include <ringleader/ops/pipeline/combinations.h>
#include <ringleader/ops/pipeline/exact_sum.h>
#include <ringleader/ops/pipeline/gradient_reducer_impl.h>
#include <ringleader/ops/pipeline/optimizer_checks.h>
#include <ringleader/ops/pipeline/scaling.h>
#include <ringleader/ops/session/current_session.h>

#include <fmt/core.h>

#include <cmath>
#include <span>

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

}  // namespace ringleader
