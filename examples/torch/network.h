// SPDX-License-Identifier: Apache-2.0
//
// The network of the LibTorch examples, and batches of images as tensors.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "mnist_example.h"

namespace example {

struct NetworkImpl : torch::nn::Module {
  NetworkImpl() {
    register_module("convolution1", convolution1);
    register_module("convolution2", convolution2);
    register_module("dense1", dense1);
    register_module("dense2", dense2);
  }
  torch::Tensor forward(torch::Tensor x) {
    x = torch::relu(torch::max_pool2d(convolution1(x), 2));
    x = torch::relu(torch::max_pool2d(convolution2(x), 2));
    return torch::log_softmax(dense2(torch::relu(dense1(x.flatten(1)))), 1);
  }
  torch::nn::Conv2d convolution1{torch::nn::Conv2dOptions(1, 8, 5)};
  torch::nn::Conv2d convolution2{torch::nn::Conv2dOptions(8, 16, 5)};
  torch::nn::Linear dense1{256, 64};
  torch::nn::Linear dense2{64, 10};
};
TORCH_MODULE(Network);

struct Tensors {
  torch::Tensor images;
  torch::Tensor labels;
};

inline Tensors tensors_of(const train_mnist::Batch& batch) {
  const auto count = static_cast<std::int64_t>(batch.labels.size());
  // clone(): the tensors outlive the batch.
  return {torch::from_blob(const_cast<float*>(batch.pixels.data()), {count, 1, 28, 28}).clone(),
          torch::from_blob(const_cast<std::uint8_t*>(batch.labels.data()), {count}, torch::kUInt8)
              .to(torch::kInt64)};
}

inline std::int64_t count_correct(Network& model, const train_mnist::Samples& samples) {
  const torch::NoGradGuard no_grad;
  const auto order = in_order(samples.count());
  std::int64_t correct = 0;
  for (std::int64_t step = 0; step * 1000 < samples.count(); ++step) {
    const Tensors batch = tensors_of(batch_of(samples, order, step, 1000));
    correct += model(batch.images).argmax(1).eq(batch.labels).sum().item<std::int64_t>();
  }
  return correct;
}

inline std::vector<float> values_of(const torch::nn::Module& model) {
  std::vector<float> values;
  for (const torch::Tensor& parameter : model.parameters()) {
    const torch::Tensor plain = parameter.detach().contiguous();
    values.insert(values.end(), plain.data_ptr<float>(), plain.data_ptr<float>() + plain.numel());
  }
  return values;
}

}  // namespace example
