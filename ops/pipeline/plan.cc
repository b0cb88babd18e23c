// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/pipeline/plan.h>

#include <ringleader/ops/session/current_session.h>

#include <fmt/core.h>

#include <utility>

namespace ringleader {

Plan::Plan(std::string title, protocol::Request request, SourceLocation where)
    : title_(std::move(title)),
      process_set_(request.process_set),
      on_device_(request.device != Device::host),
      runtime_(current_runtime(title_)),
      tensors_(request.tensors.size()) {
  plan_ = static_cast<std::uint32_t>(run_operation(title_.c_str(), std::move(request), where));
}

Plan::~Plan() {
  const auto runtime = runtime_.lock();
  if (runtime == nullptr || runtime::in_forked_child()) return;
  // On a device, the last step may only have been enqueued; the plan is in use until it has ended.
  for (const Tensor& tensor : tensors_) {
    if (tensor.operation != nullptr && !tensor.operation->done) runtime->wait(*tensor.operation);
  }
  protocol::Request request;
  request.kind = protocol::RequestKind::release_plan;
  request.process_set = process_set_;
  request.name = fmt::format("{}release_plan/{}", kReservedPrefix, plan_);
  request.target = plan_;
  runtime->post(make_operation(std::move(request)));
}

void Plan::place(std::size_t index, const TensorBuffers& buffers, void* stream) {
  tensors_[index] = {buffers, stream, nullptr};
}

void Plan::submit(std::size_t index, runtime::Runtime::Wake wake, SourceLocation where) {
  Tensor& tensor = tensors_[index];
  auto& operation = tensor.operation;
  const auto runtime = runtime_.lock();
  if (runtime == nullptr) {
    throw Error(
        Status(Code::not_initialized, fmt::format("{}: the library has been shut down", title_)));
  }
  // In device memory, the operation of the last step was only enqueued then, but must have ended
  // long ago.
  if (operation != nullptr && !operation->done) runtime->wait(*operation);
  if (operation != nullptr && operation.use_count() == 1) {
    operation->done = false;  // reuses the operation of the last step
  } else {
    operation = std::make_shared<Operation>();
    operation->request = PlanParameterRequest{plan_, static_cast<std::uint32_t>(index)};
    operation->buffers.push_back(tensor.buffers);
    if (on_device_) operation->streams = {tensor.stream};
  }
  operation->where = where;
  runtime->post(operation, wake);
}

Status Plan::wait(std::size_t index) {
  Tensor& tensor = tensors_[index];
  if (tensor.operation == nullptr) return Status();
  const auto runtime = runtime_.lock();
  Status status = runtime == nullptr ? tensor.operation->status
                                     : runtime->wait(*tensor.operation, tensor.stream);
  if (!status.ok()) tensor.operation.reset();
  return status;
}

}  // namespace ringleader
