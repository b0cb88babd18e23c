// SPDX-License-Identifier: Apache-2.0
//
// What the small examples share: options, one batch of images, and the last lines.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "dataset.h"

namespace example {

struct Options {
  int epochs = 1;
  std::int64_t batch_size = 32;      ///< images per step of a rank, or of a virtual worker
  std::int64_t train_limit = 12800;  ///< training images
  int virtual_workers = 8;           ///< for programs that use them
};

/// The training and test images, and the options from the command line. start() ends the program
/// with a message if there are no images, or for --help.
struct Start {
  Options options;
  train_mnist::Dataset data;
};
Start start(int argc, char** argv, const std::string& program);

/// 0 ... count-1.
std::vector<std::int64_t> in_order(std::int64_t count);

/// Samples at `order`[step * count ...], as many as are left of `count`.
train_mnist::Batch batch_of(const train_mnist::Samples& samples,
                            const std::vector<std::int64_t>& order, std::int64_t step,
                            std::int64_t count);

std::int64_t steps_of(const std::vector<std::int64_t>& order, std::int64_t count);

/// Rank 0 prints the mean of the ranks' losses, the share of correctly classified test images, and
/// whether all ranks have the same parameters. Collective; a world of one without mpirun.
/// Returns the program's exit code.
int finish(double loss, std::int64_t correct, std::int64_t tested,
           const std::vector<float>& parameters);

}  // namespace example
