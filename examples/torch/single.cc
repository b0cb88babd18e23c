// SPDX-License-Identifier: Apache-2.0
//
// A LibTorch program for one process, without ringleader. mnist.cc is the same program with three
// lines changed.
#include "program.h"

namespace example {

double train(Network& model, const train_mnist::Samples& samples, const Options& options) {
  const auto momentum = torch::optim::SGDOptions(0.02).momentum(0.9);
  torch::optim::SGD optimizer(model->parameters(), momentum);
  double loss = 0;
  for (int epoch = 0; epoch < options.epochs; ++epoch) {
    const std::vector<std::int64_t> order = shuffled(samples.count(), epoch);
    for (std::int64_t step = 0; step < steps_of(order, options.batch_size); ++step) {
      const Tensors batch = tensors_of(batch_of(samples, order, step, options.batch_size));
      optimizer.zero_grad();
      torch::Tensor error = torch::nll_loss(model(batch.images), batch.labels);
      error.backward();
      optimizer.step();
      loss = error.item<double>();
    }
  }
  return loss;
}

}  // namespace example
