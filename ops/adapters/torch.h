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
// dropped. Several passes before a step add up, and each is reduced (inside no_sync() it is not);
// one that throws gives the step up. A gradient is announced by a hook that runs after it was
// accumulated, once per parameter and pass (the hooks that Tensor::register_hook() makes run before,
// and see only the newest part); what is there without having been announced is reduced when the
// pass ends, or by step(). A parameter that takes no part in a rank's loss contributes zeros; one
// that takes part in no rank's has no gradient, and is not stepped, as in one process. Gradients
// live in memory that the ranks of a node share, and are reduced there. Parameter groups, options
// and state stay reachable through `optimizer->`.
//
// Errors name parameters by group and index, or as the module does:
//
//   options.parameter_names = ringleader::parameter_names(*model);
//
// Buffers are no parameters: broadcast_buffers(*model) copies rank 0's.
#pragma once

#include <ringleader/ops/adapters/torch_state.h>
#include <ringleader/ops/broadcast.h>
#include <ringleader/ops/collectives.h>
#include <ringleader/ops/distributed_optimizer.h>
#include <ringleader/ops/session.h>

#include <torch/torch.h>

#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/variable.h>

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
  if (tensor.is_sparse()) {
    throw Error(Status(Code::unsupported,
                       "tensor '" + name + "' is sparse, and only dense ones can be reduced; make "
                       "its layer with sparse(false)"));
  }
  if (!tensor.device().is_cpu() || !tensor.is_non_overlapping_and_dense()) {
    throw Error(Status(Code::unsupported,
                       "tensor '" + name + "' is not a dense tensor in host memory without gaps"));
  }
  return {tensor.data_ptr(), Shape(tensor.sizes().begin(), tensor.sizes().end()),
          dtype_of(tensor.scalar_type())};
}

/// The same for what is only copied: of types that cannot be reduced, the bytes.
inline TensorView bytes_or_elements(const torch::Tensor& tensor, const std::string& name) {
  switch (tensor.scalar_type()) {
    case torch::kFloat32:
    case torch::kFloat64:
    case torch::kInt64:
      return view_of(tensor, name);
    default:
      if (!tensor.device().is_cpu() || !tensor.is_non_overlapping_and_dense()) {
        return view_of(tensor, name);  // throws
      }
      return {static_cast<std::uint8_t*>(tensor.data_ptr()),
              {static_cast<std::int64_t>(tensor.nbytes())}};
  }
}

/// The gradient of one parameter as a tensor at a place of ours. zero_grad() of 2.x drops the
/// gradient, and backward() then makes another one: restore() brings that back to our place.
class Gradient {
 public:
  Gradient(torch::Tensor parameter, std::string name)
      : parameter_(std::move(parameter)),
        name_(std::move(name)),
        home_(torch::zeros_like(parameter_.detach())) {
    const torch::Tensor gradient = parameter_.grad();
    own_ = home_;
    if (gradient.defined()) bring();
  }

  const torch::Tensor& parameter() const { return parameter_; }
  const torch::Tensor& own() const { return own_; }
  const std::string& name() const { return name_; }
  bool is_there() const { return parameter_.grad().defined(); }

  /// The elements are there already.
  void move_to(void* memory) {
    // A tensor of its own rather than a view, which zero_grad() of 1.13 could not detach.
    own_ = memory == home_.data_ptr()
               ? home_
               : torch::from_blob(memory, parameter_.sizes(), parameter_.strides(),
                                  parameter_.options().requires_grad(false));
    if (is_there()) parameter_.mutable_grad() = own_;
  }

  /// Brings the gradient to our place if it lies elsewhere.
  void bring() {
    const torch::Tensor now = parameter_.grad();
    if (now.is_sparse()) static_cast<void>(view_of(now, name_));  // throws
    if (now.data_ptr() == own_.data_ptr()) return;
    if (now.sizes() != own_.sizes() || now.scalar_type() != own_.scalar_type()) {
      throw Error(Status(Code::invalid_argument,
                         "the gradient of '" + name_ + "' is of another type or shape than when "
                         "its optimizer was wrapped; change the model before"));
    }
    const torch::NoGradGuard no_grad;
    own_.copy_(now);
    parameter_.mutable_grad() = own_;
  }

  /// Makes what is at our place the parameter's gradient.
  void put() { parameter_.mutable_grad() = own_; }

  /// Errors: invalid_argument if the model has been changed so that it no longer fits.
  void check(const torch::Tensor& listed) const {
    const bool same = listed.unsafeGetTensorImpl() == parameter_.unsafeGetTensorImpl();
    if (same && listed.scalar_type() == own_.scalar_type() && listed.sizes() == own_.sizes()) return;
    throw Error(Status(Code::invalid_argument,
                       "parameter '" + name_ + "' is another tensor, or of another type or shape, "
                       "than when its optimizer was wrapped; change the model before"));
  }

 private:
  torch::Tensor parameter_;
  std::string name_;
  torch::Tensor home_;  ///< where the gradient was before
  torch::Tensor own_;
};

using AccumulatorPointer =
    std::decay_t<decltype(torch::autograd::impl::grad_accumulator(std::declval<torch::Tensor>()))>;

/// What the hooks of one wrapper share. A hook that outlives the wrapper does nothing.
struct Hooks : std::enable_shared_from_this<Hooks> {
  explicit Hooks(BackwardEvents callbacks) : events(std::move(callbacks)) {}

  /// One backward pass, from its first gradient on. The engine drops it with its callbacks, also if
  /// the pass throws.
  struct Pass {
    explicit Pass(std::weak_ptr<Hooks> owner) : hooks(std::move(owner)) {}
    ~Pass() {
      const auto owner = hooks.lock();
      if (!ended && owner != nullptr) owner->events.failed();
    }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    std::weak_ptr<Hooks> hooks;
    bool ended = false;
  };

  void ready(std::size_t index) {
    if (pass.expired()) begin_pass();
    events.ready(index);
  }

  void begin_pass() {
    const auto begun = std::make_shared<Pass>(weak_from_this());
    pass = begun;
    // All wrappers submit what they have before the first waits; callbacks may add callbacks.
    torch::autograd::Engine::get_default_engine().queue_callback([begun] {
      const auto hooks = begun->hooks.lock();
      if (hooks == nullptr) return;
      const bool waits = hooks->events.ended();
      begun->ended = true;
      hooks->pass.reset();
      if (!waits) return;
      torch::autograd::Engine::get_default_engine().queue_callback(
          [hooks] { hooks->events.wait(); });
    });
  }

  BackwardEvents events;
  std::weak_ptr<Pass> pass;
  std::vector<AccumulatorPointer> accumulators;  ///< kept, or hooks are lost
};

class ReadyHook : public torch::autograd::FunctionPostHook {
 public:
  ReadyHook(std::weak_ptr<Hooks> hooks, std::shared_ptr<Gradient> gradient, std::size_t index)
      : hooks_(std::move(hooks)), gradient_(std::move(gradient)), index_(index) {}

  torch::autograd::variable_list operator()(
      const torch::autograd::variable_list& outputs,
      const torch::autograd::variable_list& /*inputs*/) override {
    if (const auto hooks = hooks_.lock()) {
      if (gradient_->is_there()) gradient_->bring();
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

/// Whether an optimizer updates each element by what it knows of that element alone, so that its
/// state can be divided among the ranks. Specialize it for one of your own that does; L-BFGS, LAMB,
/// LARS and Muon do not.
template <typename Optimizer>
struct IsElementwise
    : std::bool_constant<std::is_same_v<Optimizer, torch::optim::SGD> ||
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

  /// Also hooks parameters that have been thawed since.
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
    // A piece of what has no gradient has none, and is left alone.
    for (Piece& piece : pieces_) {
      piece.parameter.mutable_grad() = used_[piece.part_of] ? piece.gradient : torch::Tensor();
    }
    optimizer.step();
  }

  template <typename Closure>
  static torch::Tensor step(Optimizer& optimizer, Closure evaluate) {
    return optimizer.step([&]() -> torch::Tensor { return evaluate(); });
  }

  /// What some rank has used has a gradient on all; what none has used stays as it is.
  /// Errors: invalid_argument for a gradient that has come after the step's were reduced.
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
                           "the gradient of '" + gradient.name() + "' was set after the gradients "
                           "of this step were reduced, so it would be this rank's own; set it "
                           "before, or call abandon_step()"));
      }
    }
  }

  /// Sets the gradients of the whole parameters to zero, where pieces are stepped.
  void zero_whole() {
    for (const auto& gradient : gradients_) gradient->own().zero_();
  }

  static std::optional<std::vector<StateTensor>> state(Optimizer& optimizer) {
    return torch_adapter::state_of(optimizer);
  }
  static void shape_state(Optimizer& optimizer, const std::vector<StateShape>& like) {
    torch_adapter::shape_state(optimizer, like);
  }

  /// Replaces the parameters of every group by the pieces of that group.
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

  /// What the optimizer steps instead of a part of a parameter.
  struct Piece {
    torch::Tensor parameter;
    torch::Tensor gradient;
    std::size_t part_of = 0;
  };

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

  /// Adagrad has a state from the beginning, which is dropped if no step was made.
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
  std::vector<std::pair<torch::Tensor, torch::Tensor>> copies;  // of those with gaps
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

/// Replaces floating-point buffers by their averages over the ranks. Collective, blocks.
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
