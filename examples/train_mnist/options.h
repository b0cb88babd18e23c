// SPDX-License-Identifier: Apache-2.0
//
// Options: the command line of train_mnist. The table is in README.md.
#pragma once

#include <ringleader/ringleader.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "network.h"
#include "stop.h"

namespace train_mnist {

struct Options {
  std::string data;  ///< directory; empty: look in the usual places
  int epochs = 3;
  int batch_size = 32;  ///< images per rank and step
  double learning_rate = 0.03;
  double momentum = 0.9;
  std::uint32_t seed = 1;
  std::optional<double> target_accuracy;  ///< 0 to 1
  std::string json;                       ///< file; empty: none
  std::int64_t train_limit = 0;           ///< images; 0: all
  bool progress = true;
  ringleader::OptimizerOptions optimizer;  ///< its strategy and virtual workers
  std::string device = "auto";             ///< as asked for: auto, cpu or cuda
  int hidden = 128;

  /// The same bits on any number of ranks are guaranteed only on the CPU.
  std::string device_wanted() const {
    return device == "auto" && optimizer.virtual_workers > 0 ? "cpu" : device;
  }

  /// The options that must be equal on all ranks. `hidden` is left out, because
  /// DistributedOptimizer itself finds out if the networks differ.
  std::vector<NamedValue> agreed() const;
};

/// Throws Stop: for --help with the text and kExitSuccess, for errors with kExitUsage.
Options parse_options(int argc, char** argv);

}  // namespace train_mnist
