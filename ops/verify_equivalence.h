// SPDX-License-Identifier: Apache-2.0
//
// verify_equivalence(): does training on N ranks compute what training on one rank computes? It
// runs a few steps of the program's own training both ways and compares the parameters.
//
//   ringleader::EquivalenceReport report = ringleader::verify_equivalence(
//       [&](const ringleader::EquivalenceRun& run) {
//         Model model(kSeed);                                  // the same starting values
//         Sgd sgd(model);
//         ringleader::DistributedOptimizer optimizer(sgd, run.options);
//         for (int step = 0; step < run.steps; ++step) {
//           model.compute_gradients(share_of(batch(step), run.rank, run.size));
//           optimizer.step();
//         }
//         return ringleader::copies_of(optimizer_slots);       // names and values
//       });
//   if (!report.equal) std::cerr << report.text;
#pragma once

#include <ringleader/core/tensor.h>
#include <ringleader/ops/gradient_reducer.h>
#include <ringleader/ops/slot.h>

#include <functional>
#include <string>
#include <vector>

namespace ringleader {

/// What the program is asked to do.
struct EquivalenceRun {
  int rank = 0;  ///< whose part of every batch to take,
  int size = 1;  ///< and of how many: all of it when this is 1
  /// Steps to make.
  int steps = 0;
  OptimizerOptions options;  ///< for the optimizer: its name, and the ranks that take part
};

/// A tensor by value.
struct NamedValues {
  /// Of the parameter.
  std::string name;
  /// Its elements.
  std::vector<double> values;
};

/// Copies of the slots' parameters.
std::vector<NamedValues> copies_of(const std::vector<Slot>& slots);

/// What the comparison has found; the same on all ranks.
struct EquivalenceReport {
  /// Whether all parameters agree within the tolerance.
  bool equal = false;
  double difference = 0;  ///< largest |a - b| over the largest |b| of the tensor, of all tensors
  std::string text;       ///< the first tensor that differs, and the usual reason
  /// Parameters of which no rank has had a gradient in any step: layers that are not used, or that
  /// were forgotten. They are equal, so `equal` does not see them.
  std::vector<std::string> unused_parameters;
};

/// How the comparison is made.
struct EquivalenceOptions {
  /// Steps of each run.
  int steps = 5;
  double tolerance = 1e-5;  ///< of `difference`; rounding alone stays far below
};

/// Runs `train` several times: alone on each rank, and on all ranks together. It must begin with
/// the same values every time and return its parameters after `run.steps` steps.
/// Collective over the world; blocks. The report is the same on all ranks.
EquivalenceReport verify_equivalence(
    const std::function<std::vector<NamedValues>(const EquivalenceRun&)>& train,
    const EquivalenceOptions& options = {});

}  // namespace ringleader
