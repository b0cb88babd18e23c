// SPDX-License-Identifier: Apache-2.0
//
// The LibTorch program of single.cc on all ranks that mpirun starts. Three lines in train() differ:
// init(), the optimizer, and the images that this rank takes.
#include <ringleader/ops/adapters/torch.h>
#include <ringleader/ringleader.h>

#include "program.h"

namespace example {

double train(Network& model, const train_mnist::Samples& samples, const Options& options) {
  ringleader::init();
  const auto momentum = torch::optim::SGDOptions(0.02).momentum(0.9);
  auto optimizer = ringleader::distributed<torch::optim::SGD>(model->parameters(), momentum);
  double loss = 0;
  for (int epoch = 0; epoch < options.epochs; ++epoch) {
    const auto order = ringleader::DistributedSampler(samples.count()).indices(epoch);
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
