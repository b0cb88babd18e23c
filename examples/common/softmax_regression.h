// SPDX-License-Identifier: Apache-2.0
//
// Multinomial logistic regression on images, with loss and gradient written by hand.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "mnist_example.h"

namespace example {

/// One row of weights and a bias per class: [10, 785].
constexpr std::int64_t kRow = train_mnist::kImagePixels + 1;
constexpr std::int64_t kWeights = train_mnist::kClasses * kRow;

/// The class scores of one image.
template <typename Float>
std::vector<double> scores(const Float* weights, const float* pixels) {
  std::vector<double> scores;
  for (std::int64_t c = 0; c < train_mnist::kClasses; ++c) {
    const Float* const row = weights + c * kRow;
    double score = static_cast<double>(row[train_mnist::kImagePixels]);
    for (std::int64_t i = 0; i < train_mnist::kImagePixels; ++i) {
      score += static_cast<double>(row[i]) * static_cast<double>(pixels[i]);
    }
    scores.push_back(score);
  }
  return scores;
}

/// The sum of the cross entropies over a batch; adds `scale` times its gradient to `gradient`.
template <typename Float>
double loss_and_gradient(const Float* weights, const train_mnist::Batch& batch, double scale,
                         Float* gradient) {
  double loss = 0;
  for (std::size_t n = 0; n < batch.labels.size(); ++n) {
    const float* const pixels = batch.pixels.data() + n * train_mnist::kImagePixels;
    std::vector<double> p = scores(weights, pixels);
    const double highest = *std::max_element(p.begin(), p.end());
    const double own = p[batch.labels[n]] - highest;
    double sum = 0;
    for (double& value : p) sum += value = std::exp(value - highest);
    loss += std::log(sum) - own;
    for (std::int64_t c = 0; c < train_mnist::kClasses; ++c) {
      const double slope =
          scale * (p[static_cast<std::size_t>(c)] / sum - (c == batch.labels[n] ? 1.0 : 0.0));
      Float* const row = gradient + c * kRow;
      for (std::int64_t i = 0; i < train_mnist::kImagePixels; ++i) {
        row[i] += static_cast<Float>(slope * static_cast<double>(pixels[i]));
      }
      row[train_mnist::kImagePixels] += static_cast<Float>(slope);
    }
  }
  return loss;
}

template <typename Float>
std::int64_t count_correct(const Float* weights, const train_mnist::Samples& samples) {
  const auto order = in_order(samples.count());
  const train_mnist::Batch all = batch_of(samples, order, 0, samples.count());
  std::int64_t correct = 0;
  for (std::size_t n = 0; n < all.labels.size(); ++n) {
    const auto p = scores(weights, all.pixels.data() + n * train_mnist::kImagePixels);
    correct += std::max_element(p.begin(), p.end()) - p.begin() == all.labels[n] ? 1 : 0;
  }
  return correct;
}

}  // namespace example
