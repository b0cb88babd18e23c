// SPDX-License-Identifier: Apache-2.0
//
// Plan: the network for one batch size as two lists of oneDNN primitives with their memory, made
// once and then executed as often as batches of that size come.
//
//   Plan plan = make_plan(engine, 32, parameters);
//   for (const Step& step : plan.forward) step.primitive.execute(stream, step.arguments);
//
// Parameters and gradients keep their plain layout; where a primitive prefers a blocked one, the
// plan has a reorder step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <vector>

#include "network.h"

namespace train_mnist {

struct Step {
  dnnl::primitive primitive;
  std::unordered_map<int, dnnl::memory> arguments;

  /// Indices of the parameters whose gradients are complete after this step.
  std::vector<std::size_t> completes = {};
};

struct Plan {
  dnnl::memory images;           ///< [count, 1, 28, 28], the input of `forward`
  dnnl::memory logits;           ///< [count, 10], its output
  dnnl::memory logits_gradient;  ///< [count, 10], the input of `backward`
  std::vector<Step> forward;
  std::vector<Step> backward;
};

/// count       images of a batch, at least 1
/// parameters  as architecture() orders them; their memory must outlive the plan
/// Errors: dnnl::error.
Plan make_plan(const dnnl::engine& engine, std::int64_t count,
               const std::vector<Parameter>& parameters);

}  // namespace train_mnist
