// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/pipeline/combinations.h>

#include <ringleader/ops/pipeline/optimizer_checks.h>

#include <fmt/core.h>

namespace ringleader {
namespace {

struct Refusal {
  Feature a;
  Feature b;
  std::string_view why;
};

/// All other combinations work.
constexpr Refusal kRefusals[] = {
    {Feature::virtual_workers, Feature::compression,
     "it would round between the virtual workers of different ranks"},
    {Feature::virtual_workers, Feature::passes_per_step,
     "the virtual workers of a rank are its passes"},
    {Feature::virtual_workers, Feature::no_sync, "virtual workers accumulate gradients already"},
    {Feature::virtual_workers, Feature::device_memory,
     "gradients of virtual workers are added up in host memory"},
    {Feature::sharding, Feature::device_memory, "shards are stepped in host memory"},
};

void check_pair(Feature a, Feature b, const OptimizerOptions& options) {
  const std::string_view why = refusal_of(a, b);
  if (why.empty()) return;
  refuse(options, fmt::format("{} cannot be combined with {}: {}", name_of(a), name_of(b), why));
}

}  // namespace

std::string_view name_of(Feature feature) {
  switch (feature) {
    case Feature::sharding:
      return "sharding";
    case Feature::compression:
      return "compression";
    case Feature::virtual_workers:
      return "virtual_workers";
    case Feature::passes_per_step:
      return "passes_per_step";
    case Feature::average_over_contributors:
      return "average_over_contributors";
    case Feature::no_sync:
      return "no_sync()";
    case Feature::join:
      return "join()";
    case Feature::clipping:
      return "clip_gradient_norm()";
    case Feature::closure:
      return "step(closure)";
    case Feature::device_memory:
      return "device memory";
  }
  return "";
}

std::string_view refusal_of(Feature a, Feature b) {
  for (const Refusal& refusal : kRefusals) {
    if ((refusal.a == a && refusal.b == b) || (refusal.a == b && refusal.b == a)) {
      return refusal.why;
    }
  }
  return {};
}

std::vector<Feature> features_of(const OptimizerOptions& options, Device device) {
  std::vector<Feature> features;
  if (options.sharding != Sharding::none) features.push_back(Feature::sharding);
  if (options.compression != Compression::none) features.push_back(Feature::compression);
  if (options.virtual_workers > 0) features.push_back(Feature::virtual_workers);
  if (options.passes_per_step > 1) features.push_back(Feature::passes_per_step);
  if (options.average_over_contributors) {
    features.push_back(Feature::average_over_contributors);
  }
  if (device != Device::host) features.push_back(Feature::device_memory);
  return features;
}

void check_combinations(const OptimizerOptions& options, Device device) {
  const std::vector<Feature> features = features_of(options, device);
  for (std::size_t a = 0; a < features.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) check_pair(features[b], features[a], options);
  }
}

void check_combination(Feature feature, const OptimizerOptions& options, Device device) {
  for (const Feature other : features_of(options, device)) check_pair(feature, other, options);
}

}  // namespace ringleader
