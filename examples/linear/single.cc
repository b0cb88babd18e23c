// SPDX-License-Identifier: Apache-2.0
//
// A hand-written training loop in one process: the tutorial's first program.
//
//   $ build/release/examples/linear_single
//   epoch 5: loss 0.0008
#include "data.h"

#include <cstdio>
#include <numeric>

int main() {
  const linear::Data data = linear::make_data(8192);
  std::vector<float> weights(linear::kFeatures), gradients(linear::kFeatures);
  const auto update = [&] {
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] -= 0.5F * gradients[i];
  };
  const int batch_size = 64;
  const float share = 1.F / static_cast<float>(batch_size);
  float loss = 0;
  for (int epoch = 1; epoch <= 5; ++epoch) {
    std::vector<std::int64_t> order(static_cast<std::size_t>(data.count()));
    std::iota(order.begin(), order.end(), 0);
    for (std::size_t begin = 0; begin < order.size(); begin += batch_size) {
      loss = 0;
      gradients.assign(gradients.size(), 0.F);
      for (std::size_t i = begin; i < begin + batch_size; ++i) {
        loss += linear::add_gradient(data, order[i], weights, share, gradients);
      }
      update();
    }
    std::printf("epoch %d: loss %.4f\n", epoch, loss);
  }
}
