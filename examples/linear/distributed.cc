// SPDX-License-Identifier: Apache-2.0
//
// The same loop on any number of ranks: the tutorial's second program.
//
//   $ mpirun -np 2 build/release/examples/linear_distributed
//   epoch 5: loss 0.0008
#include "data.h"

#include <ringleader/ringleader.h>

#include <cstdio>

int main() {
  const linear::Data data = linear::make_data(8192);
  std::vector<float> weights(linear::kFeatures), gradients(linear::kFeatures);
  const auto update = [&] {
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] -= 0.5F * gradients[i];
  };
  ringleader::init();
  ringleader::DistributedOptimizer optimizer(
      ringleader::flat_slots(weights.data(), gradients.data(), {{"weights", linear::kFeatures}}),
      update, ringleader::GradientMeaning::mean);
  const int batch_size = 64 / ringleader::size();
  const float share = 1.F / static_cast<float>(batch_size);
  float loss = 0;
  for (int epoch = 1; epoch <= 5; ++epoch) {
    const auto order = ringleader::DistributedSampler(data.count()).indices(epoch);
    for (std::size_t begin = 0; begin < order.size(); begin += batch_size) {
      loss = 0;
      gradients.assign(gradients.size(), 0.F);
      for (std::size_t i = begin; i < begin + batch_size; ++i) {
        loss += linear::add_gradient(data, order[i], weights, share, gradients);
      }
      optimizer.step();
    }
    ringleader::allreduce("loss", loss);
    if (ringleader::rank() == 0) std::printf("epoch %d: loss %.4f\n", epoch, loss);
  }
}
