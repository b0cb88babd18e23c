// SPDX-License-Identifier: Apache-2.0
//
// The exact gradient tensors of known models, in elements, in the order of registration.
#pragma once

#include <cstdint>
#include <vector>

namespace ringleader::benchmarks {

/// ResNet-50: 161 tensors, 25,557,032 parameters.
inline std::vector<std::int64_t> resnet50() {
  std::vector<std::int64_t> counts = {9408, 64, 64};
  std::int64_t in = 64;
  const std::int64_t stages[][2] = {{64, 3}, {128, 4}, {256, 6}, {512, 3}};  // width, blocks
  for (const auto& [w, blocks] : stages) {
    for (std::int64_t block = 0; block < blocks; ++block) {
      for (const std::int64_t count : {w * in, w, w, 9 * w * w, w, w, 4 * w * w, 4 * w, 4 * w}) {
        counts.push_back(count);
      }
      if (block == 0) {
        for (const std::int64_t count : {4 * w * in, 4 * w, 4 * w}) counts.push_back(count);
      }
      in = 4 * w;
    }
  }
  counts.push_back(2048000);
  counts.push_back(1000);
  return counts;
}

}  // namespace ringleader::benchmarks
