// SPDX-License-Identifier: Apache-2.0
//
// The state of LibTorch's own optimizers as named tensors, and those of their settings that must be
// equal on all ranks. Included by torch.h.
#pragma once

#include <ringleader/ops/optimizer_adapter.h>

#include <torch/torch.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace ringleader::torch_adapter {

TensorView bytes_or_elements(const torch::Tensor& tensor, const std::string& name);

/// The key of a parameter in the optimizer's map of states: a string up to LibTorch 2.0, an address
/// later.
template <typename State>
auto key_of(const torch::Tensor& parameter) {
  using Key = typename State::key_type;
  if constexpr (std::is_same_v<Key, std::string>) {
    std::ostringstream address;
    address << parameter.unsafeGetTensorImpl();
    return address.str();
  } else {
    return static_cast<Key>(parameter.unsafeGetTensorImpl());
  }
}

/// Calls visit(name, member) for the tensors and counters of a parameter's state. Returns false if
/// the state is none of LibTorch's.
template <typename Visit>
bool visit_members(torch::optim::OptimizerParamState& state, const Visit& visit) {
  const auto adam = [&](auto& moments) {
    visit("step", moments.step());
    visit("exp_avg", moments.exp_avg());
    visit("exp_avg_sq", moments.exp_avg_sq());
    visit("max_exp_avg_sq", moments.max_exp_avg_sq());
  };
  if (auto* sgd = dynamic_cast<torch::optim::SGDParamState*>(&state)) {
    visit("momentum_buffer", sgd->momentum_buffer());
  } else if (auto* moments = dynamic_cast<torch::optim::AdamParamState*>(&state)) {
    adam(*moments);
  } else if (auto* decayed = dynamic_cast<torch::optim::AdamWParamState*>(&state)) {
    adam(*decayed);
  } else if (auto* adagrad = dynamic_cast<torch::optim::AdagradParamState*>(&state)) {
    visit("step", adagrad->step());
    visit("sum", adagrad->sum());
  } else if (auto* rmsprop = dynamic_cast<torch::optim::RMSpropParamState*>(&state)) {
    visit("step", rmsprop->step());
    visit("square_avg", rmsprop->square_avg());
    visit("momentum_buffer", rmsprop->momentum_buffer());
    visit("grad_avg", rmsprop->grad_avg());
  } else if (auto* lbfgs = dynamic_cast<torch::optim::LBFGSParamState*>(&state)) {
    visit("func_evals", lbfgs->func_evals());
    visit("n_iter", lbfgs->n_iter());
    visit("t", lbfgs->t());
    visit("prev_loss", lbfgs->prev_loss());
    visit("d", lbfgs->d());
    visit("H_diag", lbfgs->H_diag());
    visit("prev_flat_grad", lbfgs->prev_flat_grad());
    visit("old_dirs", lbfgs->old_dirs());
    visit("old_stps", lbfgs->old_stps());
    visit("ro", lbfgs->ro());
  } else {
    return false;
  }
  return true;
}

/// An empty state of the kind that the optimizer keeps; null if the optimizer is none of
/// LibTorch's.
inline std::unique_ptr<torch::optim::OptimizerParamState> new_state(
    const torch::optim::Optimizer& optimizer) {
  using namespace torch::optim;
  if (dynamic_cast<const SGD*>(&optimizer) != nullptr) return std::make_unique<SGDParamState>();
  if (dynamic_cast<const Adam*>(&optimizer) != nullptr) return std::make_unique<AdamParamState>();
  if (dynamic_cast<const AdamW*>(&optimizer) != nullptr) return std::make_unique<AdamWParamState>();
  if (dynamic_cast<const Adagrad*>(&optimizer) != nullptr) {
    return std::make_unique<AdagradParamState>();
  }
  if (dynamic_cast<const RMSprop*>(&optimizer) != nullptr) {
    return std::make_unique<RMSpropParamState>();
  }
  if (dynamic_cast<const LBFGS*>(&optimizer) != nullptr) return std::make_unique<LBFGSParamState>();
  return nullptr;
}

inline std::string name_of(std::size_t group, std::size_t parameter) {
  return "group" + std::to_string(group) + ".parameter" + std::to_string(parameter);
}

/// Appends a member of a state under its name.
struct StateCollector {
  std::vector<StateTensor>& tensors;
  const std::string& parameter;

  void add(const std::string& name, const torch::Tensor& tensor) const {
    if (tensor.defined()) tensors.push_back({name, bytes_or_elements(tensor, name)});
  }
  template <typename Member>
  void operator()(const char* member, Member& value) const {
    const std::string name = parameter + "/" + member;
    if constexpr (std::is_same_v<Member, torch::Tensor>) {
      add(name, value);
    } else if constexpr (std::is_arithmetic_v<Member>) {
      tensors.push_back({name, TensorView(&value, {1})});
    } else {
      for (std::size_t i = 0; i < value.size(); ++i) add(name + "/" + std::to_string(i), value[i]);
    }
  }
};

/// Gives a member of a state tensors of the shapes that another rank has. Counters exist anyway.
struct StateShaper {
  const std::vector<StateShape>& like;
  const torch::Tensor& parameter;
  const std::string& parameter_name;

  torch::Tensor make(const StateShape& shape) const {
    const torch::TensorOptions options = parameter.options().requires_grad(false);
    // With the memory layout that the optimizer would choose.
    if (parameter.sizes().vec() == shape.shape) return torch::zeros_like(parameter.detach());
    return torch::zeros(shape.shape, options);
  }
  template <typename Member>
  void operator()(const char* member, Member& value) const {
    const std::string name = parameter_name + "/" + member;
    if constexpr (std::is_same_v<Member, torch::Tensor>) {
      for (const StateShape& shape : like) {
        if (shape.name == name) value = make(shape);
      }
    } else if constexpr (!std::is_arithmetic_v<Member>) {
      for (const StateShape& shape : like) {
        if (shape.name.rfind(name + "/", 0) == 0) value.push_back(make(shape));
      }
    }
  }
};

/// Nothing if the optimizer is none of LibTorch's.
inline std::optional<std::vector<StateTensor>> state_of(torch::optim::Optimizer& optimizer) {
  if (new_state(optimizer) == nullptr) return std::nullopt;
  using State = std::decay_t<decltype(optimizer.state())>;
  std::vector<StateTensor> tensors;
  auto& groups = optimizer.param_groups();
  for (std::size_t g = 0; g < groups.size(); ++g) {
    for (std::size_t p = 0; p < groups[g].params().size(); ++p) {
      const auto found = optimizer.state().find(key_of<State>(groups[g].params()[p]));
      if (found == optimizer.state().end()) continue;
      const std::string name = name_of(g, p);
      if (!visit_members(*found->second, StateCollector{tensors, name})) return std::nullopt;
    }
  }
  return tensors;
}

inline void shape_state(torch::optim::Optimizer& optimizer, const std::vector<StateShape>& like) {
  using State = std::decay_t<decltype(optimizer.state())>;
  optimizer.state().clear();
  auto& groups = optimizer.param_groups();
  for (std::size_t g = 0; g < groups.size(); ++g) {
    for (std::size_t p = 0; p < groups[g].params().size(); ++p) {
      const torch::Tensor& parameter = groups[g].params()[p];
      const std::string name = name_of(g, p);
      const auto has = [&](const StateShape& shape) {
        return shape.name.rfind(name + "/", 0) == 0;
      };
      if (std::none_of(like.begin(), like.end(), has)) continue;
      auto state = new_state(optimizer);
      if (state == nullptr) return;
      visit_members(*state, StateShaper{like, parameter, name});
      optimizer.state()[key_of<State>(parameter)] = std::move(state);
    }
  }
}

/// Names and values of the settings of a group that must be equal on all ranks.
class Settings {
 public:
  explicit Settings(std::size_t group) : suffix_(" of group " + std::to_string(group)) {}

  void add(const char* name, double value) { settings_.emplace_back(name + suffix_, value); }

  void visit(const torch::optim::OptimizerOptions& options) {
    using namespace torch::optim;
    if (const auto* sgd = dynamic_cast<const SGDOptions*>(&options)) {
      add("the learning rate", sgd->lr());
      add("the momentum", sgd->momentum());
      add("the dampening", sgd->dampening());
      add("the weight decay", sgd->weight_decay());
      add("nesterov", sgd->nesterov() ? 1 : 0);
    } else if (const auto* adam = dynamic_cast<const AdamOptions*>(&options)) {
      visit_adam(*adam);
    } else if (const auto* adamw = dynamic_cast<const AdamWOptions*>(&options)) {
      visit_adam(*adamw);
    } else if (const auto* adagrad = dynamic_cast<const AdagradOptions*>(&options)) {
      add("the learning rate", adagrad->lr());
      add("the learning rate's decay", adagrad->lr_decay());
      add("the weight decay", adagrad->weight_decay());
      add("eps", adagrad->eps());
    } else if (const auto* rmsprop = dynamic_cast<const RMSpropOptions*>(&options)) {
      add("the learning rate", rmsprop->lr());
      add("alpha", rmsprop->alpha());
      add("the weight decay", rmsprop->weight_decay());
      add("the momentum", rmsprop->momentum());
      add("eps", rmsprop->eps());
    } else {
      visit_other(options);
    }
  }

  std::vector<std::pair<std::string, double>> take() { return std::move(settings_); }

 private:
  template <typename Options>
  void visit_adam(const Options& options) {
    add("the learning rate", options.lr());
    add("the first beta", std::get<0>(options.betas()));
    add("the second beta", std::get<1>(options.betas()));
    add("eps", options.eps());
    add("the weight decay", options.weight_decay());
    add("amsgrad", options.amsgrad() ? 1 : 0);
  }

  /// For a program's own optimizer: get_lr() of the base class throws.
  void visit_other(const torch::optim::OptimizerOptions& options) {
    try {
      add("the learning rate", options.get_lr());
    } catch (const c10::Error&) {
    }
  }

  std::string suffix_;
  std::vector<std::pair<std::string, double>> settings_;
};

}  // namespace ringleader::torch_adapter
