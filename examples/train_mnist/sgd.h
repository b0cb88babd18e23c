// SPDX-License-Identifier: Apache-2.0
//
// Sgd: stochastic gradient descent with momentum. It knows nothing about ranks; the members
// parameters(), gradients(), names(), step() and gradient_meaning are all that
// DistributedOptimizer needs.
//
//   Sgd sgd(network->parameters(), {.learning_rate = 0.03, .momentum = 0.9});
//   sgd.step();
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "cuda_support.h"
#include "network.h"

namespace train_mnist {

struct SgdOptions {
  double learning_rate = 0.03;
  double momentum = 0.9;
};

class Sgd {
 public:
  /// Gradients are those of the mean loss over the batch.
  static constexpr auto gradient_meaning = ringleader::GradientMeaning::mean;

  /// The parameters' memory must outlive the optimizer.
  Sgd(const std::vector<Parameter>& parameters, const SgdOptions& options)
      : options_(options), parameters_(parameters) {
    for (const Parameter& parameter : parameters_) {
      velocities_.push_back(zeros_like(parameter.value));
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
    const auto rate = static_cast<float>(options_.learning_rate);
    const auto momentum = static_cast<float>(options_.momentum);
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const bool on_host = parameters_[i].value.device() == ringleader::Device::host;
      const auto update = on_host ? momentum_step : cuda_momentum_step;
      update(parameters_[i], velocities_[i].get(), rate, momentum);
    }
  }

 private:
  std::vector<ringleader::TensorView> views(ringleader::TensorView Parameter::*member) const {
    std::vector<ringleader::TensorView> result;
    for (const Parameter& parameter : parameters_) result.push_back(parameter.*member);
    return result;
  }

  static std::shared_ptr<float> zeros_like(const ringleader::TensorView& tensor) {
    const std::int64_t count = tensor.count();
    if (tensor.device() != ringleader::Device::host) return make_cuda_zeros(count);
    return {new float[static_cast<std::size_t>(count)](), std::default_delete<float[]>()};
  }

  static void momentum_step(const Parameter& parameter, float* velocity, float rate,
                            float momentum) {
    auto* value = static_cast<float*>(parameter.value.data());
    const auto* gradient = static_cast<const float*>(parameter.gradient.data());
    for (std::int64_t i = 0; i < parameter.value.count(); ++i) {
      velocity[i] = momentum * velocity[i] + gradient[i];
      value[i] -= rate * velocity[i];
    }
  }

  SgdOptions options_;
  std::vector<Parameter> parameters_;
  std::vector<std::shared_ptr<float>> velocities_;
};

}  // namespace train_mnist
