// SPDX-License-Identifier: Apache-2.0
//
// Points with noise around a known plane, and the gradient of their mean squared error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace linear {

constexpr std::size_t kFeatures = 16;

struct Data {
  std::vector<float> features;  ///< kFeatures per sample
  std::vector<float> targets;
  std::int64_t count() const { return static_cast<std::int64_t>(targets.size()); }
};

inline Data make_data(std::int64_t count) {
  std::mt19937 random(1);
  const auto uniform = [&random] { return static_cast<float>(random()) / 4294967296.0F - 0.5F; };
  Data data;
  for (std::int64_t i = 0; i < count; ++i) {
    float target = 0.1F * uniform();
    for (std::size_t f = 0; f < kFeatures; ++f) {
      data.features.push_back(uniform());
      target += data.features.back() * static_cast<float>(f);
    }
    data.targets.push_back(target);
  }
  return data;
}

/// Adds the gradient of one sample's squared error, times `share`, to `gradients`; returns the
/// error, times `share`.
inline float add_gradient(const Data& data, std::int64_t sample, const std::vector<float>& weights,
                          float share, std::vector<float>& gradients) {
  const float* const features = &data.features[static_cast<std::size_t>(sample) * kFeatures];
  float error = -data.targets[static_cast<std::size_t>(sample)];
  for (std::size_t f = 0; f < kFeatures; ++f) error += weights[f] * features[f];
  for (std::size_t f = 0; f < kFeatures; ++f) gradients[f] += 2 * share * error * features[f];
  return share * error * error;
}

}  // namespace linear
