// SPDX-License-Identifier: Apache-2.0
//
// Pipeline: how the gradients of one optimizer become those of all ranks, and what of the update
// each rank makes. GradientReducer knows when gradients are complete and what belongs to a step;
// replicate.h and shard.h move them, each by a plan.
//
//   submit() each gradient -> wait_for_all() -> the optimizer steps stepped() -> finish_step()
#pragma once

#include <ringleader/core/protocol/request.h>
#include <ringleader/core/runtime/runtime.h>
#include <ringleader/core/source_location.h>
#include <ringleader/core/status.h>
#include <ringleader/core/tensor.h>
#include <ringleader/ops/gradient_reducer.h>
#include <ringleader/ops/slot.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace ringleader {

/// What a pipeline is made for.
struct PipelineSpec {
  /// `parameters` of them, then the agreement about the step where there is one. Must outlive the
  /// pipeline, which changes the addresses of what it moves.
  std::vector<Slot>& slots;
  std::size_t parameters = 0;
  GradientMeaning meaning = GradientMeaning::mean;
  const OptimizerOptions& options;
  int passes = 1;  ///< whose gradients are added up before a step
  /// All slots are submitted at the same time: they are small.
  bool together = false;

  /// What turns what arrives, a mean over ranks and passes or a sum, into the sum over the ranks.
  double sum_factor() const {
    return meaning == GradientMeaning::mean ? options.process_set.size() * passes : 1;
  }
};

/// Threading: one thread at a time.
class Pipeline {
 public:
  Pipeline() = default;
  virtual ~Pipeline() = default;
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  /// The gradient of slot `index` is complete on this rank; each once in a step, in any order. Does
  /// not block, but after a step that was not finished.
  virtual void submit(std::size_t index, runtime::Runtime::Wake wake, SourceLocation where) = 0;

  /// Blocks until all that was submitted is there; returns the first error when all have ended, as
  /// the others use this rank's memory until then.
  virtual Status wait_for_all() = 0;

  /// After the optimizer's update: every rank has all parameters. Blocks.
  virtual void finish_step(SourceLocation /*where*/) {}

  /// The gradient of slot `index` is somewhere else from now on. Nothing of it is in flight.
  virtual void moved(std::size_t index) = 0;

  /// What turns what arrives into the sum over the ranks.
  virtual double sum_factor() const = 0;

  /// What the optimizer steps: the parameters and, after wait_for_all(), the gradients of all
  /// ranks.
  virtual std::span<const Slot> stepped() const = 0;

  /// Of numbers that add up exactly, such as a sum over stepped() in integers: the sum over all
  /// that the ranks step. Collective, blocks.
  virtual void add_up(std::span<std::int64_t> /*numbers*/, SourceLocation /*where*/) {}
};

/// Every rank steps all parameters with averaged gradients. Collective, blocks. Errors: those of
/// compare_parameters().
std::unique_ptr<Pipeline> make_replicate(const PipelineSpec& spec, SourceLocation where);

/// Every rank steps its shard of the parameters, which are the same on all ranks: see shard.cc.
/// Collective, blocks.
std::unique_ptr<Pipeline> make_shard(const PipelineSpec& spec, SourceLocation where);

/// Throws mismatch, naming the first parameter about whose name, shape or type ranks differ.
/// Collective, blocks.
void compare_parameters(const PipelineSpec& spec, SourceLocation where);

/// "DistributedOptimizer 'optimizer'", for messages.
std::string title_of(const OptimizerOptions& options);

/// What the plans of both have in common.
protocol::Request plan_request(const PipelineSpec& spec);

}  // namespace ringleader
