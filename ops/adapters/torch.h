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
// When backward() returns, gradients are those of all ranks: they can be clipped, inspected, or
// dropped. Several passes before a step add up, and each is reduced, except inside no_sync(). A
// pass that throws gives the step up. A hook announces each gradient after it has been accumulated,
// once per parameter and pass. (Hooks made by Tensor::register_hook() run earlier and see only the
// newest part.) A gradient that exists without having been announced is reduced when the pass ends,
// or by step(). A parameter that takes no part in a rank's loss contributes zeros on that rank. One
// that takes no part in any rank's loss has no gradient and is not stepped, as in one process.
// Gradients live in memory that the ranks of a node share, and are reduced there. Parameter groups,
// options and state stay reachable through `optimizer->`.
//
// Errors name parameters by group and index, or, with this option, as the module does:
//
//   options.parameter_names = ringleader::parameter_names(*model);
//
// Buffers are not parameters: broadcast_buffers(*model) copies rank 0's.
#pragma once

#include <ringleader/ops/adapters/torch_gradient.h>
#include <ringleader/ops/adapters/torch_state.h>
#include <ringleader/ops/broadcast.h>
#include <ringleader/ops/collectives.h>
#include <ringleader/ops/distributed_optimizer.h>
#include <ringleader/ops/session.h>

#include <torch/torch.h>

#include <atomic>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace ringleader {
/// Whether an optimizer's update of each element depends on that element alone, so that its state
/// can be divided among the ranks. Specialize it for an optimizer of your own if this holds. It
/// does not hold for L-BFGS, LAMB, LARS and Muon.
template <typename Optimizer>
struct IsElementwise : std::bool_constant<std::is_same_v<Optimizer, torch::optim::SGD> ||
                                          std::is_same_v<Optimizer, torch::optim::Adam> ||
                                          std::is_same_v<Optimizer, torch::optim::AdamW> ||
                                          std::is_same_v<Optimizer, torch::optim::Adagrad> ||
                                          std::is_same_v<Optimizer, torch::optim::RMSprop>> {};

template <typename Optimizer>
class OptimizerAdapter<Optimizer,
                       std::enable_if_t<std::is_base_of_v<torch::optim::Optimizer, Optimizer>>> {
 public:
  static constexpr GradientMeaning meaning = GradientMeaning::mean;
  static constexpr bool elementwise = IsElementwise<Optimizer>::value;

  std::vector<Slot> slots(Optimizer& optimizer) {
    std::vector<Slot> slots;
    auto& groups = optimizer.param_groups();
    for (std::size_t g = 0; g < groups.size(); ++g) {
      auto& parameters = groups[g].params();
      for (std::size_t p = 0; p < parameters.size(); ++p) {
        const std::string name = torch_adapter::name_of(g, p);
        const auto gradient = std::make_shared<torch_adapter::Gradient>(parameters[p], name);
        slots.push_back({name, torch_adapter::view_of(parameters[p], name),
                         torch_adapter::view_of(gradient->own(), name),
                         [gradient](void* memory) { gradient->move_to(memory); },
                         move_parameter(parameters[p]), static_cast<int>(g)});
        gradients_.push_back(gradient);
      }
    }
    used_.assign(gradients_.size(), true);
    return slots;
  }

  /// Also hooks parameters that have been unfrozen since.
  void look(Optimizer& optimizer, std::vector<SlotNow>& now) {
    now.clear();
    std::size_t index = 0;
    const auto visit = [&](const std::vector<torch::Tensor>& parameters) {
      for (const torch::Tensor& parameter : parameters) {
        if (index >= gradients_.size()) {
          now.push_back({});
          continue;
        }
        torch_adapter::Gradient& gradient = *gradients_[index++];
        gradient.check(parameter);
        now.push_back({parameter.data_ptr(), parameter.numel(), gradient.own().data_ptr(),
                       gradient.own().numel()});
      }
    };
    if (whole_.empty()) {
      for (auto& group : optimizer.param_groups()) visit(group.params());
    } else {
      for (const auto& parameters : whole_) visit(parameters);
    }
    hook_parameters();
  }

  bool missing(std::size_t index) {
    if (!gradients_[index]->is_there()) return false;
    gradients_[index]->bring();
    return true;
  }

  void step(Optimizer& optimizer) {
    give_pieces();
    optimizer.step();
  }

  template <typename Closure>
  torch::Tensor step(Optimizer& optimizer, Closure evaluate) {
    return optimizer.step([&]() -> torch::Tensor {
      torch::Tensor loss = evaluate();
      give_pieces();
      return loss;
    });
  }

  /// A parameter that some rank has used gets a gradient on all ranks. One that no rank has used
  /// stays as it is.
  /// Errors: invalid_argument for a gradient that was set after those of the step were reduced.
  void set_used(const std::vector<bool>& used) {
    used_ = used;
    for (std::size_t i = 0; i < gradients_.size(); ++i) {
      torch_adapter::Gradient& gradient = *gradients_[i];
      if (used[i]) {
        if (gradient.is_there()) {
          gradient.bring();
        } else {
          gradient.put();
        }
      } else if (gradient.is_there()) {
        throw Error(Status(Code::invalid_argument,
                           "the gradient of '" + gradient.name() +
                               "' was set after the gradients "
                               "of this step were reduced, so it would be this rank's own; set it "
                               "before, or call abandon_step()"));
      }
    }
  }

  /// With sharding, where pieces are stepped: sets the gradients of the whole parameters to zero.
  void zero_whole() {
    for (const auto& gradient : gradients_) gradient->own().zero_();
  }

  static std::optional<std::vector<StateTensor>> state(Optimizer& optimizer) {
    return torch_adapter::state_of(optimizer);
  }
  static void shape_state(Optimizer& optimizer, const std::vector<StateShape>& like) {
    torch_adapter::shape_state(optimizer, like);
  }

  /// Replaces the parameters of every group with the pieces of that group.
  void shard(Optimizer& optimizer, const std::vector<Slot>& shards) {
    auto& groups = optimizer.param_groups();
    forget_fresh_state(optimizer);
    for (auto& group : groups) whole_.push_back(std::exchange(group.params(), {}));
    for (const Slot& slot : shards) {
      torch::Tensor flat = tensor_of(slot.parameter).set_requires_grad(true);
      pieces_.push_back({flat, tensor_of(slot.gradient), slot.part_of});
      auto& group = groups[static_cast<std::size_t>(slot.group)];
      group.params().push_back(flat);
      begin_state(optimizer, group, flat);
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
    const auto& groups = optimizer.param_groups();
    for (std::size_t g = 0; g < groups.size(); ++g) {
      torch_adapter::Settings settings(g);
      if (groups[g].has_options()) settings.visit(groups[g].options());
      for (auto& setting : settings.take()) scalars.push_back(std::move(setting));
    }
    return scalars;
  }

  std::shared_ptr<void> on_backward(Optimizer& /*optimizer*/, BackwardEvents events) {
    const auto hooks = std::make_shared<torch_adapter::Hooks>(std::move(events));
    hooks_ = hooks;
    hooked_.assign(gradients_.size(), false);
    hook_parameters();
    return hooks;
  }

 private:
  using State = std::decay_t<decltype(std::declval<Optimizer&>().state())>;

  /// A tensor that the optimizer steps in place of a part of a parameter.
  struct Piece {
    torch::Tensor parameter;
    torch::Tensor gradient;
    std::size_t part_of = 0;
  };

  /// A piece of a parameter without a gradient has none either, and is left alone.
  void give_pieces() {
    for (Piece& piece : pieces_) {
      piece.parameter.mutable_grad() = used_[piece.part_of] ? piece.gradient : torch::Tensor();
    }
  }

  void hook_parameters() {
    const auto hooks = hooks_.lock();
    for (std::size_t i = 0; hooks != nullptr && i < gradients_.size(); ++i) {
      if (hooked_[i] || !gradients_[i]->parameter().requires_grad()) continue;
      const auto node = torch::autograd::impl::grad_accumulator(gradients_[i]->parameter());
      if (node == nullptr) continue;
      node->add_post_hook(std::make_unique<torch_adapter::ReadyHook>(hooks, gradients_[i], i));
      hooks->accumulators.push_back(node);
      hooked_[i] = true;
    }
  }

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

  /// Adagrad has state from the beginning. It is dropped if no step has been made.
  static void forget_fresh_state(Optimizer& optimizer) {
    for (const auto& entry : optimizer.state()) {
      const auto* adagrad = dynamic_cast<torch::optim::AdagradParamState*>(entry.second.get());
      if (adagrad != nullptr && adagrad->step() == 0) continue;
      throw Error(
          Status(Code::invalid_argument,
                 "sharding: the optimizer has state already; wrap it before its first step"));
    }
    optimizer.state().clear();
  }

  static void begin_state(Optimizer& optimizer, torch::optim::OptimizerParamGroup& group,
                          const torch::Tensor& piece) {
    if constexpr (std::is_same_v<Optimizer, torch::optim::Adagrad>) {
      auto state = std::make_unique<torch::optim::AdagradParamState>();
      const auto& options = static_cast<torch::optim::AdagradOptions&>(group.options());
      state->step(0);
      state->sum(torch::full_like(piece.detach(), options.initial_accumulator_value()));
      optimizer.state()[torch_adapter::key_of<State>(piece)] = std::move(state);
    }
  }

  std::vector<std::shared_ptr<torch_adapter::Gradient>> gradients_;
  std::vector<bool> used_;    ///< per parameter: some rank has a gradient in this step
  std::vector<bool> hooked_;  ///< per parameter
  std::weak_ptr<torch_adapter::Hooks> hooks_;
  std::vector<std::vector<torch::Tensor>> whole_;  ///< per group, while there are pieces
  std::vector<Piece> pieces_;
};

/// The names that a module gives to its parameters, for OptimizerOptions::parameter_names.
inline std::map<const void*, std::string> parameter_names(const torch::nn::Module& module) {
  std::map<const void*, std::string> names;
  for (const auto& item : module.named_parameters()) {
    if (item.value().numel() > 0) names.emplace(item.value().data_ptr(), item.key());
  }
  return names;
}

/// Overwrites all buffers of a module (running statistics, masks) with the root's, whatever their
/// type. Collective, blocks.
inline void broadcast_buffers(const torch::nn::Module& module, int root = 0,
                              ProcessSet process_set = {},
                              SourceLocation where = SourceLocation::current()) {
  const torch::NoGradGuard no_grad;
  std::vector<std::pair<torch::Tensor, torch::Tensor>> copies;  // of buffers with gaps
  std::vector<Slot> buffers;
  for (const auto& item : module.named_buffers()) {
    torch::Tensor buffer = item.value();
    if (!buffer.is_non_overlapping_and_dense()) {
      copies.emplace_back(buffer, buffer.contiguous());
      buffer = copies.back().second;
    }
    const TensorView view = torch_adapter::bytes_or_elements(buffer, item.key());
    buffers.push_back({"buffers/" + item.key(), view, view});
  }
  broadcast_parameters(buffers, root, process_set, where);
  for (auto& [buffer, copy] : copies) buffer.copy_(copy);
}

/// Replaces floating-point buffers with their averages over the ranks. Collective, blocks.
inline void average_buffers(const torch::nn::Module& module, ProcessSet process_set = {}) {
  std::vector<TensorView> buffers;
  for (const auto& item : module.named_buffers()) {
    if (!item.value().is_floating_point()) continue;  // counters and masks
    buffers.push_back(torch_adapter::view_of(item.value(), item.key()));
  }
  ReduceOptions options;
  options.process_set = process_set;
  if (!buffers.empty()) grouped_allreduce("buffers", buffers, ReduceOp::average, options);
}

}  // namespace ringleader
