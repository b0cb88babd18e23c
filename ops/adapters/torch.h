// SPDX-License-Identifier: Apache-2.0
//
// Adapter for every optimizer of LibTorch's C++ frontend (torch::optim), 1.13 and 2.x.
//
//   #include <ringleader/ops/adapters/torch.h>
//
//   torch::optim::AdamW adamw(model->parameters(), options);
//   ringleader::DistributedOptimizer optimizer(adamw);     // parameters are broadcast
//   ...
//   optimizer->zero_grad(); loss.backward();               // gradients travel during backward()
//   optimizer.step();
//
// Gradients live in memory that the ranks of a node share, and are reduced there. A gradient is
// announced by a hook that runs after it was accumulated, once per parameter and backward pass
// (the hooks that Tensor::register_hook() makes run before, and see only the newest part). A
// parameter that takes no part in a rank's loss contributes zeros; one that takes part in no rank's
// has no gradient, and is not stepped, as in one process. Parameter groups, options and state stay
// reachable through `optimizer->`.
//
// Buffers are no parameters: broadcast_buffers(*model) copies rank 0's.
#pragma once

#include <ringleader/ops/broadcast.h>
#include <ringleader/ops/collectives.h>
#include <ringleader/ops/distributed_optimizer.h>
#include <ringleader/ops/session.h>

#include <torch/torch.h>

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/variable.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace ringleader {
namespace torch_adapter {

inline DType dtype_of(torch::ScalarType type) {
  switch (type) {
    case torch::kFloat32:
      return DType::f32;
    case torch::kFloat64:
      return DType::f64;
    case torch::kFloat16:
      return DType::f16;
    case torch::kBFloat16:
      return DType::bf16;
    case torch::kInt32:
      return DType::i32;
    case torch::kInt64:
      return DType::i64;
    case torch::kInt8:
      return DType::i8;
    case torch::kUInt8:
      return DType::u8;
    default:
      throw Error(Status(Code::unsupported, std::string("tensors of type ") +
                                                torch::toString(type) + " cannot be reduced"));
  }
}

inline torch::ScalarType type_of(DType dtype) {
  for (const auto type : {torch::kFloat32, torch::kFloat64, torch::kFloat16, torch::kBFloat16}) {
    if (dtype_of(type) == dtype) return type;
  }
  throw Error(Status(Code::unsupported, "shards are of floating-point numbers"));
}

/// All elements of a tensor in host memory that has no gaps, in the order in which they lie.
inline TensorView view_of(const torch::Tensor& tensor, const std::string& name) {
  if (!tensor.device().is_cpu() || tensor.is_sparse() || !tensor.is_non_overlapping_and_dense()) {
    throw Error(Status(Code::unsupported,
                       "tensor '" + name + "' is not a dense tensor in host memory without gaps"));
  }
  return {tensor.data_ptr(), Shape(tensor.sizes().begin(), tensor.sizes().end()),
          dtype_of(tensor.scalar_type())};
}

/// The gradient of one parameter as a tensor at a place of ours. zero_grad() of 2.x drops the
/// gradient, and backward() then makes another one: restore() brings that back to our place.
class Gradient {
 public:
  explicit Gradient(torch::Tensor parameter)
      : parameter_(std::move(parameter)), home_(torch::zeros_like(parameter_.detach())) {
    const torch::Tensor gradient = parameter_.grad();
    if (gradient.defined()) home_.copy_(gradient.detach());
    own_ = home_;
    restore(gradient.defined());
  }

  const torch::Tensor& parameter() const { return parameter_; }
  const torch::Tensor& own() const { return own_; }

  /// The elements are there already.
  void move_to(void* memory) {
    // A tensor of its own rather than a view, which zero_grad() of 1.13 could not detach.
    own_ = memory == home_.data_ptr()
               ? home_
               : torch::from_blob(memory, parameter_.sizes(), parameter_.strides(),
                                  parameter_.options().requires_grad(false));
    if (parameter_.grad().defined()) parameter_.mutable_grad() = own_;
  }

  /// Brings a gradient that lies elsewhere to our place, and if there is none, makes it ours.
  void restore(bool wanted) {
    const torch::Tensor& now = parameter_.grad();
    if (now.defined() && now.data_ptr() == own_.data_ptr()) return;
    if (!now.defined() && !wanted) return;
    const torch::NoGradGuard no_grad;
    if (now.defined()) own_.copy_(now);
    parameter_.mutable_grad() = own_;
  }

 private:
  torch::Tensor parameter_;
  torch::Tensor home_;  ///< where the gradient was before
  torch::Tensor own_;
};

/// What the hooks of one wrapper share. A hook that outlives the wrapper does nothing.
struct Hooks {
  explicit Hooks(std::function<void(std::size_t)> callback) : ready(std::move(callback)) {}
  std::function<void(std::size_t)> ready;
  std::vector<std::shared_ptr<torch::autograd::Node>> accumulators;  ///< kept, or hooks are lost
};

class ReadyHook : public torch::autograd::FunctionPostHook {
 public:
  ReadyHook(std::weak_ptr<Hooks> hooks, std::shared_ptr<Gradient> gradient, std::size_t index)
      : hooks_(std::move(hooks)), gradient_(std::move(gradient)), index_(index) {}

  torch::autograd::variable_list operator()(
      const torch::autograd::variable_list& outputs,
      const torch::autograd::variable_list& /*inputs*/) override {
    if (const auto hooks = hooks_.lock()) {
      gradient_->restore(false);
      hooks->ready(index_);
    }
    return outputs;
  }

 private:
  std::weak_ptr<Hooks> hooks_;
  std::shared_ptr<Gradient> gradient_;
  std::size_t index_;
};

}  // namespace torch_adapter

template <typename Optimizer>
class OptimizerAdapter<Optimizer,
                       std::enable_if_t<std::is_base_of_v<torch::optim::Optimizer, Optimizer>>> {
 public:
  static constexpr GradientMeaning meaning = GradientMeaning::mean;
  static constexpr bool elementwise = !std::is_base_of_v<torch::optim::LBFGS, Optimizer>;

  std::vector<Slot> slots(Optimizer& optimizer) {
    std::vector<Slot> slots;
    auto& groups = optimizer.param_groups();
    for (std::size_t g = 0; g < groups.size(); ++g) {
      auto& parameters = groups[g].params();
      for (std::size_t p = 0; p < parameters.size(); ++p) {
        const std::string name = "group" + std::to_string(g) + ".parameter" + std::to_string(p);
        const auto gradient = std::make_shared<torch_adapter::Gradient>(parameters[p]);
        slots.push_back({name, torch_adapter::view_of(parameters[p], name),
                         torch_adapter::view_of(gradient->own(), name),
                         [gradient](void* memory) { gradient->move_to(memory); },
                         move_parameter(parameters[p]), static_cast<int>(g)});
        gradients_.push_back(gradient);
      }
    }
    return slots;
  }

  void step(Optimizer& optimizer) {
    // zero_grad() of 2.x drops them.
    for (auto& [parameter, gradient] : shards_) parameter.mutable_grad() = gradient;
    optimizer.step();
  }

  template <typename Closure>
  static torch::Tensor step(Optimizer& optimizer, Closure evaluate) {
    return optimizer.step([&]() -> torch::Tensor { return evaluate(); });
  }

  /// What some rank has used has a gradient on all; what none has used stays as it is.
  void set_used(const std::vector<bool>& used) {
    for (std::size_t i = 0; i < gradients_.size(); ++i) gradients_[i]->restore(used[i]);
  }

  /// Replaces the parameters of every group by the flat shards of that group.
  void shard(Optimizer& optimizer, const std::vector<Slot>& shards) {
    if (!optimizer.state().empty()) {
      throw Error(
          Status(Code::invalid_argument,
                 "sharding: the optimizer has state already; wrap it before its first step"));
    }
    auto& groups = optimizer.param_groups();
    for (auto& group : groups) whole_.push_back(std::exchange(group.params(), {}));
    for (const Slot& slot : shards) {
      torch::Tensor flat = tensor_of(slot.parameter).set_requires_grad(true);
      shards_.emplace_back(flat, tensor_of(slot.gradient));
      groups[static_cast<std::size_t>(slot.group)].params().push_back(flat);
    }
  }
  void unshard(Optimizer& optimizer) {
    auto& groups = optimizer.param_groups();
    for (std::size_t g = 0; g < whole_.size(); ++g) groups[g].params() = whole_[g];
  }

  static TensorView loss(torch::Tensor& loss) {
    loss = loss.detach().clone();
    return torch_adapter::view_of(loss, "loss");
  }

  static std::vector<std::pair<std::string, double>> scalars(const Optimizer& optimizer) {
    std::vector<std::pair<std::string, double>> scalars;
    for (const auto& group : optimizer.param_groups()) {
      scalars.emplace_back("the learning rate of group " + std::to_string(scalars.size()),
                           group.options().get_lr());
    }
    return scalars;
  }

  static std::size_t count(Optimizer& optimizer) {
    std::size_t count = 0;
    for (auto& group : optimizer.param_groups()) count += group.params().size();
    return count;
  }

  std::shared_ptr<void> on_ready(Optimizer& /*optimizer*/, std::function<void(std::size_t)> ready) {
    const auto hooks = std::make_shared<torch_adapter::Hooks>(std::move(ready));
    for (std::size_t i = 0; i < gradients_.size(); ++i) {
      const auto node = torch::autograd::impl::grad_accumulator(gradients_[i]->parameter());
      if (node == nullptr) continue;  // a parameter that does not require a gradient
      node->add_post_hook(std::make_unique<torch_adapter::ReadyHook>(hooks, gradients_[i], i));
      hooks->accumulators.push_back(node);
    }
    return hooks;
  }

 private:
  static std::function<void(void*)> move_parameter(const torch::Tensor& parameter) {
    const torch::Tensor home = parameter.detach();
    return [parameter, home](void* memory) mutable {
      parameter.set_data(
          memory == home.data_ptr()
              ? home
              : torch::from_blob(memory, home.sizes(), home.strides(), home.options()));
    };
  }

  static torch::Tensor tensor_of(const TensorView& view) {
    return torch::from_blob(view.data(), view.shape(), torch_adapter::type_of(view.dtype()));
  }

  std::vector<std::shared_ptr<torch_adapter::Gradient>> gradients_;
  std::vector<std::vector<torch::Tensor>> whole_;  ///< per group, while there are shards
  std::vector<std::pair<torch::Tensor, torch::Tensor>> shards_;  ///< parameter and gradient
};

/// Overwrites all buffers of a module (running statistics) with the root's. Collective, blocks.
inline void broadcast_buffers(const torch::nn::Module& module, int root = 0,
                              ProcessSet process_set = {}) {
  std::vector<Slot> buffers;
  for (const auto& item : module.named_buffers()) {
    const TensorView view = torch_adapter::view_of(item.value(), item.key());
    buffers.push_back({"buffers/" + item.key(), view, view});
  }
  broadcast_parameters(buffers, root, process_set);
}

/// Replaces floating-point buffers by their averages over the ranks. Collective, blocks.
inline void average_buffers(const torch::nn::Module& module, ProcessSet process_set = {}) {
  std::vector<TensorView> buffers;
  for (const auto& item : module.named_buffers()) {
    if (!item.value().is_floating_point()) continue;
    buffers.push_back(torch_adapter::view_of(item.value(), item.key()));
  }
  ReduceOptions options;
  options.process_set = process_set;
  if (!buffers.empty()) grouped_allreduce("buffers", buffers, ReduceOp::average, options);
}

}  // namespace ringleader
