// SPDX-License-Identifier: Apache-2.0
//
// A trainer written by hand, in the style of llm.c: one array of parameters, one of gradients, and
// an update function. Three lines make it data-parallel.
//
//   $ mpirun -n 2 build/release/examples/custom_sgd
#include <ringleader/ringleader.h>

#include "softmax_regression.h"

int main(int argc, char** argv) {
  const example::Start start = example::start(argc, argv, "custom_sgd");
  const train_mnist::Samples& samples = start.data.train;
  std::vector<float> parameters(example::kWeights, 0.F);
  std::vector<float> gradients(example::kWeights, 0.F);
  const auto update = [&] {
    for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i] -= 0.02F * gradients[i];
  };

  ringleader::init();                          // line 1 of 3
  ringleader::DistributedOptimizer optimizer(  // line 2 of 3
      ringleader::flat_slots(parameters.data(), gradients.data(), {{"weights", example::kWeights}}),
      update, ringleader::GradientMeaning::mean);

  double loss = 0;
  for (int epoch = 0; epoch < start.options.epochs; ++epoch) {
    const auto order = ringleader::DistributedSampler(samples.count()).indices(epoch);
    const std::int64_t batch_size = start.options.batch_size;
    for (std::int64_t step = 0; step < example::steps_of(order, batch_size); ++step) {
      const train_mnist::Batch batch = example::batch_of(samples, order, step, batch_size);
      const double share = 1.0 / static_cast<double>(batch.labels.size());
      gradients.assign(gradients.size(), 0.F);
      loss = share * example::loss_and_gradient(parameters.data(), batch, share, gradients.data());
      optimizer.step();  // line 3 of 3: where update() was
    }
  }
  return example::finish(loss, example::count_correct(parameters.data(), start.data.test),
                         start.data.test.count(), parameters);
}
