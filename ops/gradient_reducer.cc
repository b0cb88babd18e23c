// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/gradient_reducer.h>

#include <ringleader/core/log.h>
#include <ringleader/ops/broadcast.h>
#include <ringleader/ops/current_session.h>
#include <ringleader/ops/gradient_reducer_impl.h>
#include <ringleader/ops/optimizer_checks.h>

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

namespace ringleader {
namespace {

protocol::Request plan_request(const std::vector<Slot>& slots, GradientMeaning meaning,
                               const OptimizerOptions& options, int passes) {
  protocol::Request request;
  request.op = Op::register_plan;
  request.process_set = options.process_set.id;
  request.name = std::string(kReservedPrefix) + "plan/" + options.name;
  const bool mean = meaning == GradientMeaning::mean;
  request.reduce_op = mean ? ReduceOp::average : ReduceOp::sum;
  request.postscale = mean ? 1.0 / passes : 1.0;
  request.average_over_contributors = options.average_over_contributors;
  request.device = slots.front().gradient.device();
  const DType compressed = compressed_type(options.compression);
  for (const Slot& slot : slots) {
    request.tensors.push_back(
        {slot.name, slot.gradient.shape(), wire_type(slot.gradient.dtype(), compressed)});
  }
  return request;
}

}  // namespace

GradientReducer::Impl::Impl(std::vector<Slot> slots, GradientMeaning meaning,
                            const OptimizerOptions& options, bool exchange_use,
                            SourceLocation where)
    : slots_(std::move(slots)),
      parameters_(slots_.size()),
      use_(exchange_use ? slots_.size() : 0, 0.F),
      meaning_(meaning),
      options_(options),
      runtime_(current_runtime("DistributedOptimizer")),
      device_(current_device()),
      used_here_(slots_.size(), false),
      announced_(exchange_use) {
  if (exchange_use) slots_.push_back({"used by a rank", use_, use_, {}});
  announcements_.assign(slots_.size(), 0);
  held_back_.assign(slots_.size(), false);
  operations_.resize(slots_.size());
  submitted_.assign(slots_.size(), false);
  check_optimizer(slots_, options_);
  passes_ = options_.virtual_workers > 0 ? options_.virtual_workers / options_.process_set.size()
                                         : options_.passes_per_step;
  if (options_.virtual_workers > 0) sums_.assign(slots_.size(), TreeAccumulator(passes_));
  claim_.emplace(slots_, options_.name);
  // The plan first: it names what differs between ranks.
  plan_ = static_cast<std::uint32_t>(run_operation(
      "DistributedOptimizer", plan_request(slots_, meaning_, options_, passes_), where));
  if (options_.broadcast_parameters) {
    ringleader::broadcast_parameters(slots_, options_.root, options_.process_set);
  }
  memory_.emplace(slots_, compressed_type(options_.compression), device_);
  log_options();
}

GradientReducer::Impl::~Impl() {
  const auto runtime = runtime_.lock();
  if (runtime == nullptr) return;
  complete_step();
  // On a device the last step may only have been enqueued: the plan is in use until it has ended.
  for (const auto& operation : operations_) {
    if (operation != nullptr && !operation->done) runtime->wait(*operation);
  }
  protocol::Request request;
  request.op = Op::release_plan;
  request.process_set = options_.process_set.id;
  request.name = fmt::format("{}release_plan/{}", kReservedPrefix, plan_);
  request.target = plan_;
  runtime->post(make_operation(std::move(request)));
}

/// If the program gives a step up while some gradients are on their way, the others' memory must
/// stay until those have arrived, and so must ours: the step ends with what there is.
void GradientReducer::Impl::complete_step() {
  const std::lock_guard lock(mutex_);
  if (std::find(submitted_.begin(), submitted_.end(), true) == submitted_.end()) return;
  try {
    submit_rest({});
    static_cast<void>(wait_for_all());
  } catch (const Error&) {  // the library is over, and nothing on its way any more
  }
}

void GradientReducer::Impl::log_options() const {
  if (log_level() > LogLevel::debug) return;
  constexpr const char* kCompressions[] = {"none", "fp16", "bf16"};
  log(LogLevel::debug,
      fmt::format("DistributedOptimizer '{}': {} parameters, gradients are {}s, {} pass(es) per "
                  "step, compression {}, {} virtual workers, broadcast {}",
                  options_.name, parameters_, meaning_ == GradientMeaning::mean ? "mean" : "sum",
                  passes_, kCompressions[static_cast<int>(options_.compression)],
                  options_.virtual_workers, options_.broadcast_parameters ? "yes" : "no"));
}

void GradientReducer::Impl::ready(std::size_t index, SourceLocation where) {
  const std::lock_guard lock(mutex_);
  if (index >= parameters_) refuse(options_, fmt::format("there is no parameter {}", index));
  used_here_[index] = true;
  if (holding_back_) {
    held_back_[index] = true;
    return;
  }
  const int expected = options_.virtual_workers > 0 ? passes_done_ + 1 : passes_;
  if (synchronized_ || announcements_[index] == expected) {
    refuse(options_, fmt::format("the gradient of '{}' was announced more than {} time(s) in one "
                                 "step; call step(), or set passes_per_step",
                                 slots_[index].name, expected));
  }
  announced_ = true;
  take(index, runtime::Runtime::Wake::yes, where);
}

/// One more pass has computed the gradient.
void GradientReducer::Impl::take(std::size_t index, runtime::Runtime::Wake wake,
                                 SourceLocation where) {
  const bool complete = ++announcements_[index] == passes_;
  if (!sums_.empty()) sums_[index].add(slots_[index].gradient);
  if (complete) submit(index, wake, where);
}

/// What no pass has computed on this rank counts as zeros.
void GradientReducer::Impl::clear_if_missing(std::size_t index) {
  if (!announced_ || announcements_[index] > 0 || held_back_[index]) return;
  const TensorView& gradient = slots_[index].gradient;
  if (gradient.bytes() == 0) return;
  if (gradient.device() == Device::host) {
    std::memset(gradient.data(), 0, gradient.bytes());
  } else {
    throw_if_error(device_->clear(gradient.stream(), gradient.data(), gradient.bytes()));
  }
}

void GradientReducer::Impl::begin_workers() {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (submitted_[i]) {
      refuse(options_, "virtual_workers() again before step(), while gradients are on their way");
    }
  }
  synchronized_ = false;
  forget_passes();
}

void GradientReducer::Impl::end_worker() {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = parameters_; i-- > 0;) {
    if (announcements_[i] > passes_done_) continue;
    clear_if_missing(i);
    take(i, runtime::Runtime::Wake::no, {});
  }
  ++passes_done_;
}

void GradientReducer::Impl::synchronize(SourceLocation where) {
  const std::lock_guard lock(mutex_);
  if (synchronized_) return;
  if (holding_back_) refuse(options_, "gradients cannot be used inside no_sync()");
  if (!sums_.empty() && passes_done_ != passes_) {
    refuse(options_, fmt::format("the gradients of {} of {} virtual workers were computed; loop "
                                 "over virtual_workers()",
                                 passes_done_, passes_));
  }
  submit_rest(where);
  const Status first_error = wait_for_all();
  if (!first_error.ok()) {
    forget_passes();  // the step is given up; the next call begins a new one
    throw Error(first_error);
  }
  synchronized_ = true;
}

/// In backward order, in which gradients usually become ready.
void GradientReducer::Impl::submit_rest(SourceLocation where) {
  for (std::size_t i = slots_.size(); i-- > 0;) {
    if (submitted_[i]) continue;
    if (i == parameters_) {
      std::copy(used_here_.begin(), used_here_.end(), use_.begin());
    } else {
      clear_if_missing(i);
    }
    submit(i, runtime::Runtime::Wake::no, where);
  }
}

Status GradientReducer::Impl::wait_for_all() {
  const auto runtime = runtime_.lock();
  Status first_error;
  for (std::size_t i = slots_.size(); i-- > 0;) {
    auto& operation = operations_[i];
    void* const stream = slots_[i].gradient.stream();
    const Status status =
        runtime == nullptr ? operation->status : runtime->wait(*operation, stream);
    submitted_[i] = false;
    if (first_error.ok()) first_error = status;
    if (status.ok()) {
      memory_->expand(i);
    } else {
      operation.reset();
    }
  }
  return first_error;
}

std::vector<bool> GradientReducer::Impl::used() const {
  std::vector<bool> used;
  for (const float use : use_) used.push_back(use > 0);
  return used;
}

void GradientReducer::Impl::begin_step() {
  const std::lock_guard lock(mutex_);
  synchronized_ = false;
  forget_passes();
}

void GradientReducer::Impl::forget_passes() {
  announcements_.assign(announcements_.size(), 0);
  held_back_.assign(held_back_.size(), false);
  used_here_.assign(parameters_, false);
  for (TreeAccumulator& sum : sums_) sum.reset();
  passes_done_ = 0;
}

void GradientReducer::Impl::submit(std::size_t index, runtime::Runtime::Wake wake,
                                   SourceLocation where) {
  memory_->compress(index);
  auto& operation = operations_[index];
  const auto runtime = runtime_.lock();
  if (runtime == nullptr) {
    throw Error(
        Status(Code::not_initialized, "DistributedOptimizer: the library has been shut down"));
  }
  // In device memory that of the last step has only been enqueued, but must have ended long ago.
  if (operation != nullptr && !operation->done) runtime->wait(*operation);
  if (operation != nullptr && operation.use_count() == 1) {
    operation->done = false;  // that of the last step serves again
  } else {
    operation = std::make_shared<Operation>();
    operation->wish = PlanParameterRequest{plan_, static_cast<std::uint32_t>(index)};
    const TensorView& view = slots_[index].gradient;
    void* const gradient = memory_->wire(index).data();
    operation->buffers.push_back({gradient, gradient, memory_->widened(index)});
    if (view.device() != Device::host) operation->streams = {view.stream()};
  }
  operation->where = where;
  submitted_[index] = true;
  runtime->post(operation, wake);
}

}  // namespace ringleader
