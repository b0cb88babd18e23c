// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ringleader/ops/slot.h>

#include <cstddef>
#include <vector>

namespace ringleader::test {

/// One parameter, whose gradient the test writes.
struct Model {
  explicit Model(std::size_t count = 4) : weight(count, 1.F), gradient(count, 0.F) {}
  std::vector<float> weight;
  std::vector<float> gradient;

  std::vector<Slot> slots() { return {{"weight", weight, gradient, {}}}; }
  void step() {
    for (std::size_t i = 0; i < weight.size(); ++i) weight[i] -= gradient[i];
  }
};

}  // namespace ringleader::test
