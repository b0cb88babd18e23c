// SPDX-License-Identifier: Apache-2.0
//
// Sgd: stochastic gradient descent with momentum. It knows nothing of ranks; that it has the
// members parameters(), gradients(), names(), step() and gradient_meaning is all that
// DistributedOptimizer needs.
//
//   Sgd sgd(network->parameters(), {.learning_rate = 0.03, .momentum = 0.9});
//   sgd.step();
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "network.h"

namespace train_mnist {

struct SgdOptions {
  double learning_rate = 0.03;
  double momentum = 0.9;
};

class Sgd {
 public:
  /// Of the mean loss over the batch.
  static constexpr auto gradient_meaning = ringleader::GradientMeaning::mean;

  /// The parameters' memory must outlive the optimizer.
  Sgd(const std::vector<Parameter>& parameters, const SgdOptions& options)
      : options_(options), parameters_(parameters) {
    for (const Parameter& parameter : parameters_) {
      velocities_.emplace_back(static_cast<std::size_t>(parameter.value.count()), 0.0F);
    }
  }

  std::vector<ringleader::TensorView> parameters() const { return views(&Parameter::value); }
  std::vector<ringleader::TensorView> gradients() const { return views(&Parameter::gradient); }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const Parameter& parameter : parameters_) names.push_back(parameter.name);
    return names;
  }

  void set_learning_rate(double rate) { options_.learning_rate = rate; }

  /// velocity = momentum * velocity + gradient; value -= learning_rate * velocity
  void step() {
    for (std::size_t i = 0; i < parameters_.size(); ++i) update(parameters_[i], velocities_[i]);
  }

 private:
  std::vector<ringleader::TensorView> views(ringleader::TensorView Parameter::*member) const {
    std::vector<ringleader::TensorView> result;
    for (const Parameter& parameter : parameters_) result.push_back(parameter.*member);
    return result;
  }

  void update(const Parameter& parameter, std::vector<float>& velocity) const {
    const auto rate = static_cast<float>(options_.learning_rate);
    const auto momentum = static_cast<float>(options_.momentum);
    auto* value = static_cast<float*>(parameter.value.data());
    const auto* gradient = static_cast<const float*>(parameter.gradient.data());
    for (std::size_t i = 0; i < velocity.size(); ++i) {
      velocity[i] = momentum * velocity[i] + gradient[i];
      value[i] -= rate * velocity[i];
    }
  }

  SgdOptions options_;
  std::vector<Parameter> parameters_;
  std::vector<std::vector<float>> velocities_;
};

}  // namespace train_mnist
