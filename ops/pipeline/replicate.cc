// SPDX-License-Identifier: Apache-2.0
//
// Replicate: all gradients are averaged on all ranks, and each rank steps all parameters.
#include <ringleader/ops/pipeline/gradient_memory.h>
#include <ringleader/ops/pipeline/optimizer_checks.h>
#include <ringleader/ops/pipeline/pipeline.h>
#include <ringleader/ops/pipeline/plan.h>
#include <ringleader/ops/session/current_session.h>

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

namespace ringleader {
namespace {

/// The gradient of each slot is a tensor of the plan.
protocol::Request request_of(const PipelineSpec& spec) {
  protocol::Request request = plan_request(spec);
  const DType compressed = compressed_type(spec.options.compression);
  for (const Slot& slot : spec.slots) {
    request.tensors.push_back(
        {slot.name, slot.gradient.shape(), wire_type(slot.gradient.dtype(), compressed)});
  }
  return request;
}

/// Small slots of one type are sent as one tensor: the fixed cost per tensor is most of a small
/// step.
bool are_packed(const PipelineSpec& spec) {
  const DType compressed = compressed_type(spec.options.compression);
  const DType first = wire_type(spec.slots.front().gradient.dtype(), compressed);
  return spec.together && std::all_of(spec.slots.begin(), spec.slots.end(), [&](const Slot& slot) {
           return wire_type(slot.gradient.dtype(), compressed) == first;
         });
}

protocol::Request packed_request(const PipelineSpec& spec) {
  protocol::Request request = plan_request(spec);
  std::int64_t count = 0;
  for (const Slot& slot : spec.slots) count += slot.gradient.count();
  const DType compressed = compressed_type(spec.options.compression);
  // What reports call it.
  std::string name = spec.slots.front().name;
  if (spec.parameters > 1) name += fmt::format(" and {} others", spec.parameters - 1);
  request.tensors.push_back(
      {name, {count}, wire_type(spec.slots.front().gradient.dtype(), compressed)});
  return request;
}

class Replicate : public Pipeline {
 public:
  Replicate(const PipelineSpec& spec, SourceLocation where)
      : slots_(spec.slots),
        parameters_(spec.parameters),
        packed_(are_packed(spec)),
        missing_(slots_.size()),
        sum_factor_(spec.sum_factor()) {
    // Before anything is moved: this names what differs between ranks.
    if (packed_) compare_parameters(spec, where);
    plan_.emplace(title_of(spec.options), packed_ ? packed_request(spec) : request_of(spec), where);
    memory_.emplace(spec.slots, compressed_type(spec.options.compression), current_device(),
                    packed_);
    for (std::size_t i = 0; i < plan_->size(); ++i) place(i);
  }

  ~Replicate() override { plan_.reset(); }  // the plan may still use the memory

  void submit(std::size_t index, runtime::Runtime::Wake wake, SourceLocation where) override {
    memory_->compress(index);
    if (!packed_) return plan_->submit(index, wake, where);
    if (--missing_ == 0) plan_->submit(0, wake, where);
  }

  Status wait_for_all() override {
    Status first_error;
    if (packed_) {
      missing_ = slots_.size();
      first_error = plan_->wait(0);
      for (std::size_t i = 0; first_error.ok() && i < slots_.size(); ++i) memory_->expand(i);
      return first_error;
    }
    for (std::size_t i = slots_.size(); i-- > 0;) {
      const Status status = plan_->wait(i);
      if (first_error.ok()) first_error = status;
      if (status.ok()) memory_->expand(i);
    }
    return first_error;
  }

  void moved(std::size_t index) override {
    memory_->moved(index);
    if (!packed_) place(index);
  }

  double sum_factor() const override { return sum_factor_; }
  std::span<const Slot> stepped() const override { return std::span(slots_).first(parameters_); }

 private:
  void place(std::size_t index) {
    void* const gradient = memory_->wire(index).data();
    plan_->place(index, {gradient, gradient, memory_->wire_type_differs(index)},
                 slots_[index].gradient.stream());
  }

  std::vector<Slot>& slots_;
  const std::size_t parameters_;
  const bool packed_;
  std::size_t missing_;  ///< packed: slots to come in this step
  const double sum_factor_;
  std::optional<GradientMemory> memory_;
  std::optional<Plan> plan_;
};

}  // namespace

protocol::Request plan_request(const PipelineSpec& spec) {
  protocol::Request request;
  request.kind = protocol::RequestKind::register_plan;
  request.process_set = spec.options.process_set.id;
  request.name = std::string(kReservedPrefix) + "plan/" + spec.options.name;
  request.reduce_op = reduce_op_of(spec.meaning);
  request.postscale = request.reduce_op == ReduceOp::average ? 1.0 / spec.passes : 1.0;
  request.device = spec.slots.front().gradient.device();
  // Host memory: GradientReducer learns from each step whether a rank has joined, and then divides
  // again.
  request.average_over_contributors =
      spec.options.average_over_contributors && request.device != Device::host;
  return request;
}

std::string title_of(const OptimizerOptions& options) {
  return fmt::format("DistributedOptimizer '{}'", options.name);
}

std::unique_ptr<Pipeline> make_replicate(const PipelineSpec& spec, SourceLocation where) {
  return std::make_unique<Replicate>(spec, where);
}

void compare_parameters(const PipelineSpec& spec, SourceLocation where) {
  const Plan plan(title_of(spec.options), request_of(spec), where);
}

}  // namespace ringleader
