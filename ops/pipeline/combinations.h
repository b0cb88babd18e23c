// SPDX-License-Identifier: Apache-2.0
//
// The one table of which features of DistributedOptimizer can be combined. README.md prints it.
#pragma once

#include <ringleader/core/types.h>
#include <ringleader/ops/gradient_reducer.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace ringleader {

enum class Feature : std::uint8_t {
  sharding,
  compression,
  virtual_workers,
  passes_per_step,
  average_over_contributors,
  no_sync,
  join,
  clipping,
  closure,
  device_memory,
};
constexpr int kFeatureCount = 10;

std::string_view name_of(Feature feature);

/// Why the two cannot be combined, in either order; empty if they can.
std::string_view refusal_of(Feature a, Feature b);

/// The features that the options ask for.
std::vector<Feature> features_of(const OptimizerOptions& options, Device device);

/// Throws invalid_argument naming two features of the options that cannot be combined.
void check_combinations(const OptimizerOptions& options, Device device);

/// The same for a feature that the program uses in addition to the options.
void check_combination(Feature feature, const OptimizerOptions& options, Device device);

}  // namespace ringleader
