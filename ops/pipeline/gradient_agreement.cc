// SPDX-License-Identifier: Apache-2.0
//
// What a GradientReducer finds out about its step: that ranks diverge, and that the program has
// changed something since it wrapped the optimizer.
#include <ringleader/core/log.h>
#include <ringleader/ops/broadcast.h>
#include <ringleader/ops/collectives.h>
#include <ringleader/ops/distributed_function.h>
#include <ringleader/ops/pipeline/gradient_reducer_impl.h>

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace ringleader {
namespace {

/// A gradient that was not announced in this many steps, while others were, is worth a warning.
constexpr int kUnannouncedSteps = 100;

/// The same tensor elsewhere in the same kind of memory.
TensorView at_address(const TensorView& view, void* address) {
  return TensorView(address, view.shape(), view.dtype(), view.device()).on(view.stream());
}

}  // namespace

void GradientReducer::Impl::judge(const StepHeard& heard, bool abandons, SourceLocation where) {
  const auto fail = [&](const std::string& what) {
    forget_passes();
    steps_ = 0;  // from here on the ranks count alike
    throw Error(Status(Code::mismatch, fmt::format("{}, step {} ({}): {}", title(), periods_,
                                                   to_string(where), what)));
  };
  if (heard.abandoning > 0 && heard.abandoning < heard.ranks) {
    const std::string who = heard.abandoning == 1
                                ? fmt::format("rank {} gives", heard.abandoning_rank)
                                : fmt::format("{} ranks give", heard.abandoning);
    fail(
        fmt::format("{} the step up (abandon_step(), zero_grad() or an exception), and the other "
                    "{} of {} ranks, {}, do not; do the same on all ranks",
                    who, heard.ranks - heard.abandoning, heard.ranks,
                    abandons ? "not this one" : "this one among them"));
  }
  if (!heard.steps_equal) {
    fail(
        "some ranks have made a step that others have left out (a loss that is not finite there, "
        "or an exception), so their parameters differ; do the same on all ranks");
  }
  if (hooks_.point != nullptr && !heard.contents_equal) {
    forget_passes();
    detail::throw_points_differ(options_.name, where);
  }
  if (heard.scalars_equal) return;
  forget_passes();
  compare_scalars(hooks_.scalars(), options_, where);
}

/// A gradient that never comes often means a forgotten layer.
void GradientReducer::Impl::count_unannounced() {
  if (!announced_ || !begun()) return;
  std::string names;
  for (std::size_t i = 0; i < parameters_; ++i) {
    const bool used = exchanges_use() && has_agreement() ? agreement_->used(i) : used_here_[i];
    if (used) ever_used_[i] = true;
    unannounced_[i] = used ? 0 : unannounced_[i] + 1;
    if (unannounced_[i] == kUnannouncedSteps) names += fmt::format(" '{}'", slots_[i].name);
  }
  if (names.empty()) return;
  log(LogLevel::warning,
      fmt::format("{}: no gradient has come for {} steps of{}; is a layer not used, or frozen?",
                  title(), kUnannouncedSteps, names));
}

void GradientReducer::Impl::report_unused() const {
  if (options_.unused_parameters == nullptr) return;
  options_.unused_parameters->clear();
  const bool any = std::find(ever_used_.begin(), ever_used_.end(), true) != ever_used_.end();
  for (std::size_t i = 0; any && i < parameters_; ++i) {
    if (!ever_used_[i]) options_.unused_parameters->push_back(slots_[i].name);
  }
}

/// Before a step: checks what the program has changed since the optimizer was wrapped.
void GradientReducer::Impl::check(SourceLocation where) {
  const std::lock_guard lock(mutex_);
  if (state_unknown_) {
    refuse(
        options_,
        fmt::format("at {}: the ranks have made different numbers of steps before join(), and "
                    "what the optimizer keeps from step to step (momentum) is not known, so the "
                    "ranks would train different models; describe it (Slot::state, or state() of "
                    "the optimizer or its adapter), or set OptimizerOptions::stateless",
                    to_string(where)));
  }
  if (hooks_.look == nullptr) return;
  hooks_.look(now_);
  if (now_.size() != parameters_) {
    refuse(options_,
           fmt::format("the optimizer has {} parameters, and had {} when it was wrapped ('{}' was "
                       "the last); add parameters before, or wrap them with an optimizer of their "
                       "own",
                       now_.size(), parameters_, slots_[parameters_ - 1].name));
  }
  for (std::size_t i = 0; i < parameters_; ++i) {
    Slot& slot = slots_[i];
    const SlotNow& now = now_[i];
    if (now.parameter_count != slot.parameter.count() ||
        now.gradient_count != slot.gradient.count()) {
      refuse(
          options_,
          fmt::format("parameter '{}' has {} elements and a gradient of {} now, and had "
                      "{} when it was wrapped",
                      slot.name, now.parameter_count, now.gradient_count, slot.parameter.count()));
    }
    if (now.parameter != slot.parameter.data()) {
      slot.parameter = at_address(slot.parameter, now.parameter);
    }
    if (now.gradient == slot.gradient.data()) continue;
    if (now.gradient == nullptr) {
      refuse(options_, fmt::format("the gradient of '{}' has no memory any more", slot.name));
    }
    if (submitted_[i] || synchronized_) {
      failed_pass_ = !synchronized_;
      refuse(options_, fmt::format("the memory of the gradient of '{}' has changed after it was "
                                   "announced; announce it when it is in its place",
                                   slot.name));
    }
    slot.gradient = at_address(slot.gradient, now.gradient);
    pipeline_->moved(i);
  }
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

}  // namespace ringleader
