// SPDX-License-Identifier: Apache-2.0
//
// Pipeline: how the gradients of one optimizer become those of all ranks, and which part of the
// update each rank makes. GradientReducer knows when gradients are complete and what belongs to a
// step; replicate.cc and shard.cc move them, each with a plan.
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
  /// `parameters` slots of parameters, then the agreement about the step if there is one. Must
  /// outlive the pipeline, which updates the addresses of what it moves.
  std::vector<Slot>& slots;
  std::size_t parameters = 0;
  GradientMeaning meaning = GradientMeaning::mean;
  const OptimizerOptions& options;
  int passes = 1;  ///< number of passes whose gradients are added up before a step
  /// All slots are submitted at the same time, because they are small.
  bool together = false;

  /// The factor that turns the result, a mean over ranks and passes or a sum, into the sum over the
  /// ranks.
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

  /// The gradient of slot `index` is complete on this rank. Call it once per slot and step, in any
  /// order. Blocks only after a step that was not finished.
  virtual void submit(std::size_t index, runtime::Runtime::Wake wake, SourceLocation where) = 0;

  /// Blocks until everything that was submitted has completed. Returns the first error only when
  /// all have ended, because the other ranks use this rank's memory until then.
  virtual Status wait_for_all() = 0;

  /// Call after the optimizer's update: gives every rank all parameters. Blocks.
  virtual void finish_step(SourceLocation /*where*/) {}

  /// The gradient of slot `index` is somewhere else from now on. It must not be in flight.
  virtual void moved(std::size_t index) = 0;

  /// The factor that turns the result into the sum over the ranks.
  virtual double sum_factor() const = 0;

  /// What the optimizer steps: the parameters and, after wait_for_all(), the gradients of all
  /// ranks.
  virtual std::span<const Slot> stepped() const = 0;

  /// Takes numbers that add up exactly, such as a sum over stepped() in integers, and replaces them
  /// with the sum over everything that the ranks step. Collective, blocks.
  virtual void add_up(std::span<std::int64_t> /*numbers*/, SourceLocation /*where*/) {}
};

/// Every rank steps all parameters with averaged gradients. Collective, blocks. Errors: those of
/// compare_parameters().
std::unique_ptr<Pipeline> make_replicate(const PipelineSpec& spec, SourceLocation where);

/// Every rank steps its shard of the parameters: see shard.cc. The parameters must be the same on
/// all ranks. Collective, blocks.
std::unique_ptr<Pipeline> make_shard(const PipelineSpec& spec, SourceLocation where);

/// Throws mismatch, naming the first parameter whose name, shape or type differs between ranks.
/// Collective, blocks.
void compare_parameters(const PipelineSpec& spec, SourceLocation where);

/// "DistributedOptimizer 'optimizer'", for messages.
std::string title_of(const OptimizerOptions& options);

/// What the plans of both pipelines have in common.
protocol::Request plan_request(const PipelineSpec& spec);

}  // namespace ringleader
