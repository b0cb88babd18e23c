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

/// What one call of the program's training must do.
struct EquivalenceRun {
  int rank = 0;  ///< which part of every batch to take
  int size = 1;  ///< number of parts; 1: take the whole batch
  /// Number of steps to make.
  int steps = 0;
  OptimizerOptions options;  ///< for the optimizer: its name, and the ranks that take part
};

/// A tensor by value.
struct NamedValues {
  /// The parameter's name.
  std::string name;
  /// Its elements.
  std::vector<double> values;
};

/// Copies of the slots' parameters.
std::vector<NamedValues> copies_of(const std::vector<Slot>& slots);

/// The result of the comparison; the same on all ranks.
struct EquivalenceReport {
  /// Whether all parameters agree within the tolerance.
  bool equal = false;
  double difference = 0;  ///< maximum over all tensors of largest |a - b| / largest |b|
  std::string text;       ///< the first tensor that differs, and the usual reason
  /// Parameters for which no rank had a gradient in any step: layers that are unused or were
  /// forgotten. They are equal in both runs, so `equal` does not reveal them.
  std::vector<std::string> unused_parameters;
};

/// Options of the comparison.
struct EquivalenceOptions {
  /// Steps of each run.
  int steps = 5;
  double tolerance = 1e-5;  ///< limit for `difference`; rounding alone stays far below it
};

/// Runs `train` several times: alone on each rank, and on all ranks together. `train` must begin
/// with the same values every time and return its parameters after `run.steps` steps.
/// Collective over the world; blocks. The report is the same on all ranks.
EquivalenceReport verify_equivalence(
    const std::function<std::vector<NamedValues>(const EquivalenceRun&)>& train,
    const EquivalenceOptions& options = {});

}  // namespace ringleader
