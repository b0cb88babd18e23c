// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/plan_transport.h>

#include <ringleader/ops/current_session.h>
#include <ringleader/ops/optimizer_checks.h>

#include <fmt/core.h>

#include <string>
#include <utility>

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
  request.device = slots.front().gradient.device();
  // Host memory: GradientReducer divides again where a rank has joined, as it learns from each
  // step.
  request.average_over_contributors =
      options.average_over_contributors && request.device != Device::host;
  const DType compressed = compressed_type(options.compression);
  for (const Slot& slot : slots) {
    request.tensors.push_back(
        {slot.name, slot.gradient.shape(), wire_type(slot.gradient.dtype(), compressed)});
  }
  return request;
}

}  // namespace

PlanTransport::PlanTransport(std::vector<Slot>& slots, GradientMeaning meaning,
                             const OptimizerOptions& options, int passes, SourceLocation where)
    : slots_(slots), options_(options), runtime_(current_runtime("DistributedOptimizer")) {
  operations_.resize(slots_.size());
  if (meaning == GradientMeaning::mean) sum_factor_ = options.process_set.size() * passes;
  plan_ = static_cast<std::uint32_t>(
      run_operation("DistributedOptimizer", plan_request(slots_, meaning, options, passes), where));
}

PlanTransport::~PlanTransport() {
  const auto runtime = runtime_.lock();
  if (runtime == nullptr || runtime::in_forked_child()) return;
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

void PlanTransport::move_gradients() {
  memory_.emplace(slots_, compressed_type(options_.compression), current_device());
}

void PlanTransport::submit(std::size_t index, runtime::Runtime::Wake wake, SourceLocation where) {
  memory_->compress(index);
  auto& operation = operations_[index];
  const auto runtime = runtime_.lock();
  if (runtime == nullptr) {
    throw Error(Status(
        Code::not_initialized,
        fmt::format("DistributedOptimizer '{}': the library has been shut down", options_.name)));
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
  runtime->post(operation, wake);
}

/// All end before an error is thrown: the others still use the user's memory.
Status PlanTransport::wait_for_all() {
  const auto runtime = runtime_.lock();
  Status first_error;
  for (std::size_t i = slots_.size(); i-- > 0;) {
    auto& operation = operations_[i];
    if (operation == nullptr) continue;
    void* const stream = slots_[i].gradient.stream();
    const Status status =
        runtime == nullptr ? operation->status : runtime->wait(*operation, stream);
    if (first_error.ok()) first_error = status;
    if (status.ok()) {
      memory_->expand(i);
    } else {
      operation.reset();
    }
  }
  return first_error;
}

void PlanTransport::moved(std::size_t index) {
  memory_->moved(index);
  operations_[index].reset();
}

}  // namespace ringleader
