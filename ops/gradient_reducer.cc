// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/gradient_reducer.h>

#include <ringleader/core/runtime/runtime.h>
#include <ringleader/ops/broadcast.h>
#include <ringleader/ops/current_session.h>
#include <ringleader/ops/memory.h>

#include <fmt/core.h>

#include <cstring>
#include <mutex>
#include <set>
#include <utility>

namespace ringleader {
namespace {

[[noreturn]] void refuse(const OptimizerOptions& options, std::string_view why) {
  throw Error(Status(Code::invalid_argument,
                     fmt::format("DistributedOptimizer '{}': {}", options.name, why)));
}

void check(const std::vector<Slot>& slots, const OptimizerOptions& options) {
  if (slots.empty()) refuse(options, "the optimizer has no parameters");
  if (options.passes_per_step < 1) refuse(options, "passes_per_step must be at least 1");
  std::set<std::string> names;
  for (const Slot& slot : slots) {
    if (!names.insert(slot.name).second) {
      refuse(options, fmt::format("two parameters are named '{}'", slot.name));
    }
    const bool fits = slot.parameter.count() == slot.gradient.count() &&
                      slot.parameter.dtype() == slot.gradient.dtype();
    if (!fits) refuse(options, fmt::format("the gradient of '{}' does not fit it", slot.name));
    if (slot.gradient.device() != Device::host) {
      throw Error(Status(Code::unsupported, "this build has no backend for device memory"));
    }
  }
}

protocol::Request plan_request(const std::vector<Slot>& slots, const OptimizerOptions& options) {
  protocol::Request request;
  request.op = Op::register_plan;
  request.process_set = options.process_set.id;
  request.name = std::string(kReservedPrefix) + "plan/" + options.name;
  const bool mean = options.meaning == GradientMeaning::mean;
  request.reduce_op = mean ? ReduceOp::average : ReduceOp::sum;
  request.postscale = mean ? 1.0 / options.passes_per_step : 1.0;
  request.average_over_contributors = options.average_over_contributors;
  for (const Slot& slot : slots) {
    request.tensors.push_back({slot.name, slot.gradient.shape(), slot.gradient.dtype()});
  }
  return request;
}

}  // namespace

class GradientReducer::Impl {
 public:
  Impl(std::vector<Slot> slots, const OptimizerOptions& options, SourceLocation where)
      : slots_(std::move(slots)),
        options_(options),
        runtime_(current_runtime("DistributedOptimizer")),
        passes_(slots_.size(), 0),
        operations_(slots_.size()),
        submitted_(slots_.size(), false) {
    check(slots_, options_);
    // The plan first: it names what differs between ranks.
    plan_ = static_cast<std::uint32_t>(
        run_operation("DistributedOptimizer", plan_request(slots_, options_), where));
    if (options_.broadcast_parameters) {
      ringleader::broadcast_parameters(slots_, options_.root, options_.process_set);
    }
    move_gradients();  // the last that can fail
  }

  ~Impl() {
    release_plan();
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (homes_[i] != nullptr) move_gradient(slots_[i], homes_[i]);
    }
    ringleader::free(shared_);
  }

  void ready(std::size_t index, SourceLocation where) {
    const std::lock_guard lock(mutex_);
    if (index >= slots_.size()) {
      refuse(options_, fmt::format("there is no parameter {}", index));
    }
    if (synchronized_ || passes_[index] == options_.passes_per_step) {
      refuse(options_, fmt::format("the gradient of '{}' was announced more than {} time(s) in one "
                                   "step; call step(), or set passes_per_step",
                                   slots_[index].name, options_.passes_per_step));
    }
    announced_ = true;
    if (++passes_[index] == options_.passes_per_step)
      submit(index, runtime::Runtime::Wake::yes, where);
  }

  void synchronize(SourceLocation where) {
    const std::lock_guard lock(mutex_);
    if (synchronized_) return;
    // Backward order, in which gradients usually become ready.
    for (std::size_t i = slots_.size(); i-- > 0;) {
      if (submitted_[i]) continue;
      if (announced_ && passes_[i] == 0) {
        std::memset(slots_[i].gradient.data(), 0, slots_[i].gradient.bytes());
      }
      submit(i, runtime::Runtime::Wake::no, where);
    }
    const auto runtime = runtime_.lock();
    Status first_error;
    submitted_.assign(submitted_.size(), false);
    for (auto& operation : operations_) {
      if (runtime != nullptr) runtime->wait(*operation);
      if (first_error.ok()) first_error = operation->status;
      if (!operation->status.ok()) operation.reset();
    }
    if (!first_error.ok()) {
      passes_.assign(passes_.size(), 0);  // the step is given up; the next call begins a new one
      throw Error(first_error);
    }
    synchronized_ = true;
  }

  void begin_step() {
    const std::lock_guard lock(mutex_);
    synchronized_ = false;
    passes_.assign(passes_.size(), 0);
  }

  const std::vector<Slot>& slots() const { return slots_; }

 private:
  void release_plan() {
    const auto runtime = runtime_.lock();
    if (runtime == nullptr) return;
    protocol::Request request;
    request.op = Op::release_plan;
    request.process_set = options_.process_set.id;
    request.name = fmt::format("{}release_plan/{}", kReservedPrefix, plan_);
    request.target = plan_;
    runtime->post(make_operation(std::move(request)));
  }

  /// Those that may be moved, one after another on cache lines of their own.
  void move_gradients() {
    const auto room = [](const Slot& slot) {
      return slot.move_gradient ? (slot.gradient.bytes() + 63) / 64 * 64 : 0;
    };
    std::size_t total = 0;
    for (const Slot& slot : slots_) total += room(slot);
    homes_.resize(slots_.size(), nullptr);
    if (total == 0) return;
    shared_ = ringleader::allocate(total);
    auto* next = static_cast<std::byte*>(shared_);
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (room(slots_[i]) == 0) continue;
      homes_[i] = slots_[i].gradient.data();
      move_gradient(slots_[i], next);
      next += room(slots_[i]);
    }
  }

  static void move_gradient(Slot& slot, void* to) {
    TensorView& gradient = slot.gradient;
    std::memcpy(to, gradient.data(), gradient.bytes());
    gradient = TensorView(to, gradient.shape(), gradient.dtype());
    slot.move_gradient(to);
  }

  void submit(std::size_t index, runtime::Runtime::Wake wake, SourceLocation where) {
    auto& operation = operations_[index];
    if (operation != nullptr && operation.use_count() == 1) {
      operation->done = false;  // that of the last step serves again
    } else {
      operation = std::make_shared<Operation>();
      operation->wish = PlanParameterRequest{plan_, static_cast<std::uint32_t>(index)};
      void* gradient = slots_[index].gradient.data();
      operation->buffers.push_back({gradient, gradient});
    }
    operation->where = where;
    submitted_[index] = true;
    const auto runtime = runtime_.lock();
    if (runtime == nullptr) {
      throw Error(
          Status(Code::not_initialized, "DistributedOptimizer: the library has been shut down"));
    }
    runtime->post(operation, wake);
  }

  std::vector<Slot> slots_;
  OptimizerOptions options_;
  std::weak_ptr<runtime::Runtime> runtime_;
  std::uint32_t plan_ = 0;
  void* shared_ = nullptr;    ///< where the gradients were moved to
  std::vector<void*> homes_;  ///< per slot: where it came from; null: it was not moved

  std::mutex mutex_;
  std::vector<int> passes_;  ///< per slot: announcements in this step
  std::vector<std::shared_ptr<Operation>>
      operations_;               ///< per slot: in flight, or of the last step
  std::vector<bool> submitted_;  ///< per slot: in flight
  bool synchronized_ = false;
  bool announced_ = false;  ///< the program calls ready(): what is not announced is missing
};

GradientReducer::GradientReducer(std::vector<Slot> slots, const OptimizerOptions& options,
                                 SourceLocation where)
    : impl_(std::make_unique<Impl>(std::move(slots), options, where)) {}

GradientReducer::~GradientReducer() = default;
GradientReducer::GradientReducer(GradientReducer&&) noexcept = default;
GradientReducer& GradientReducer::operator=(GradientReducer&&) noexcept = default;

void GradientReducer::ready(std::size_t index, SourceLocation where) { impl_->ready(index, where); }
void GradientReducer::synchronize(SourceLocation where) { impl_->synchronize(where); }
void GradientReducer::begin_step() { impl_->begin_step(); }
const std::vector<Slot>& GradientReducer::slots() const { return impl_->slots(); }

}  // namespace ringleader
