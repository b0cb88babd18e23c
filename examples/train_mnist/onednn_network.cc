// SPDX-License-Identifier: Apache-2.0
#include "onednn_network.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <oneapi/dnnl/dnnl.hpp>
#include <utility>

#include "onednn_plan.h"

namespace train_mnist {
namespace {

/// Ranks on the same node share its cores; more threads than cores would only wait for each other.
void limit_threads() {
  const int share = std::max(1, omp_get_num_procs() / ringleader::local_size());
  omp_set_num_threads(std::min(share, omp_get_max_threads()));
}

/// Softmax and cross entropy of one image. Writes the gradient of the loss divided by the number
/// of images, because the loss is the mean over the batch.
Outcome classify(const float* logits, std::uint8_t label, double scale, float* gradient) {
  const float* highest = std::max_element(logits, logits + kClasses);
  double sum = 0;
  for (std::int64_t c = 0; c < kClasses; ++c) sum += std::exp(double{logits[c]} - *highest);
  for (std::int64_t c = 0; c < kClasses; ++c) {
    const double probability = std::exp(double{logits[c]} - *highest) / sum;
    gradient[c] = static_cast<float>(scale * (probability - (c == label ? 1.0 : 0.0)));
  }
  return {std::log(sum) - (double{logits[label]} - *highest), highest - logits == label ? 1 : 0};
}

class OneDnnNetwork : public Network {
 public:
  explicit OneDnnNetwork(const NetworkOptions& options)
      : engine_(dnnl::engine::kind::cpu, 0), stream_(engine_) {
    const std::vector<ParameterSpec> specs = architecture(options.hidden);
    values_ = initial_values(specs, options.seed);
    for (const std::vector<float>& value : values_) gradients_.emplace_back(value.size(), 0.0F);
    for (std::size_t i = 0; i < specs.size(); ++i) {
      parameters_.push_back({specs[i].name,
                             {values_[i].data(), specs[i].shape},
                             {gradients_[i].data(), specs[i].shape}});
    }
  }

  const std::vector<Parameter>& parameters() const override { return parameters_; }
  Outcome forward(const Batch& batch) override;
  void backward(const std::function<void(std::size_t)>& ready) override;
  std::vector<float> snapshot() const override;

 private:
  Plan& plan_for(std::int64_t count);

  dnnl::engine engine_;
  dnnl::stream stream_;
  std::vector<std::vector<float>> values_;
  /// In memory that the ranks of a node share, so that they are averaged in place.
  std::vector<std::vector<float, ringleader::SharedAllocator<float>>> gradients_;
  std::vector<Parameter> parameters_;
  std::map<std::int64_t, Plan> plans_;  ///< by batch size
  Plan* current_ = nullptr;             ///< of the last forward()
};

Plan& OneDnnNetwork::plan_for(std::int64_t count) {
  const auto found = plans_.find(count);
  if (found != plans_.end()) return found->second;
  return plans_.emplace(count, make_plan(engine_, count, parameters_)).first->second;
}

Outcome OneDnnNetwork::forward(const Batch& batch) {
  const auto count = static_cast<std::int64_t>(batch.labels.size());
  current_ = &plan_for(count);
  std::copy(batch.pixels.begin(), batch.pixels.end(),
            static_cast<float*>(current_->images.get_data_handle()));
  for (const Step& step : current_->forward) step.primitive.execute(stream_, step.arguments);
  stream_.wait();

  const auto* logits = static_cast<const float*>(current_->logits.get_data_handle());
  auto* gradient = static_cast<float*>(current_->logits_gradient.get_data_handle());
  Outcome total;
  for (std::int64_t i = 0; i < count; ++i) {
    const Outcome one = classify(logits + i * kClasses, batch.labels[static_cast<std::size_t>(i)],
                                 1.0 / static_cast<double>(count), gradient + i * kClasses);
    total.loss += one.loss / static_cast<double>(count);
    total.correct += one.correct;
  }
  return total;
}

void OneDnnNetwork::backward(const std::function<void(std::size_t)>& ready) {
  for (const Step& step : current_->backward) {
    step.primitive.execute(stream_, step.arguments);
    if (step.completes.empty()) continue;
    stream_.wait();
    for (const std::size_t parameter : step.completes) ready(parameter);
  }
}

std::vector<float> OneDnnNetwork::snapshot() const {
  std::vector<float> all;
  for (const std::vector<float>& value : values_) all.insert(all.end(), value.begin(), value.end());
  return all;
}

}  // namespace

std::unique_ptr<Network> make_onednn_network(const NetworkOptions& options) {
  if (options.one_thread) {
    omp_set_num_threads(1);
  } else {
    limit_threads();
  }
  return std::make_unique<OneDnnNetwork>(options);
}

}  // namespace train_mnist
