// SPDX-License-Identifier: Apache-2.0
//
// Training whose parameters have the same bits on 1, 2, 4, ... ranks: the batch of a step is that
// of a fixed number of virtual workers, and each rank computes for its share of the workers.
#include <ringleader/ops/adapters/torch.h>
#include <ringleader/ringleader.h>

#include "program.h"

namespace example {

double train(Network& model, const train_mnist::Samples& samples, const Options& options) {
  ringleader::init();
  torch::set_num_threads(1);  // threads would add up in another order
  torch::optim::AdamW adamw(model->parameters(), torch::optim::AdamWOptions(1e-3));
  ringleader::OptimizerOptions distributed;
  distributed.virtual_workers = options.virtual_workers;
  ringleader::DistributedOptimizer optimizer(adamw, distributed);
  double loss = 0;
  for (int epoch = 0; epoch < options.epochs; ++epoch) {
    std::vector<std::vector<std::int64_t>> orders;  // per virtual worker
    ringleader::SamplerOptions sampler;
    sampler.size = options.virtual_workers;
    for (sampler.rank = 0; sampler.rank < sampler.size; ++sampler.rank) {
      orders.push_back(ringleader::DistributedSampler(samples.count(), sampler).indices(epoch));
    }
    for (std::int64_t step = 0; step < steps_of(orders[0], options.batch_size); ++step) {
      optimizer.zero_grad();
      optimizer.virtual_workers([&](int worker) {
        const auto& order = orders[static_cast<std::size_t>(worker)];
        const Tensors batch = tensors_of(batch_of(samples, order, step, options.batch_size));
        torch::Tensor error = torch::nll_loss(model(batch.images), batch.labels);
        error.backward();
        loss = error.item<double>();
      });
      optimizer.step();
    }
  }
  return loss;
}

}  // namespace example
