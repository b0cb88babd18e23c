// SPDX-License-Identifier: Apache-2.0
//
// The function that main.cc calls; each LibTorch example defines it once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "network.h"

namespace example {

/// Trains in place; returns the loss of the last batch.
double train(Network& model, const train_mnist::Samples& samples, const Options& options);

/// 0 ... count-1 in an order that depends on the epoch.
inline std::vector<std::int64_t> shuffled(std::int64_t count, int epoch) {
  std::vector<std::int64_t> order = in_order(count);
  std::shuffle(order.begin(), order.end(), std::mt19937(static_cast<unsigned>(epoch)));
  return order;
}

}  // namespace example
