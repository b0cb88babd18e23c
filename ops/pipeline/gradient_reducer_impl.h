// SPDX-License-Identifier: Apache-2.0
//
// The implementation of GradientReducer and of DistributedOptimizer's guards: it knows which
// gradients are complete and what belongs to a step.
//
//            ready()               all ranks have all           begin_step(), or the next ready()
//   idle ------------> announcing ----------------> synchronized ---------------------> idle
//                        |                                                                ^
//                        +---- abandon_step(): completes what is on its way, unused ------+
//
// A step is a transaction: however it ends, every rank has submitted each slot once and waited for
// it, so that the next one starts clean.
#pragma once

#include <ringleader/ops/gradient_reducer.h>
#include <ringleader/ops/pipeline/combinations.h>
#include <ringleader/ops/pipeline/optimizer_checks.h>
#include <ringleader/ops/pipeline/pipeline.h>
#include <ringleader/ops/pipeline/step_agreement.h>
#include <ringleader/ops/pipeline/tree_accumulator.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace ringleader {

class GradientReducer::Impl {
 public:
  Impl(std::vector<Slot> slots, GradientMeaning meaning, const OptimizerOptions& options,
       ReducerHooks hooks, SourceLocation where);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void ready(std::size_t index, SourceLocation where);
  bool submit_pass(SourceLocation where);
  void synchronize(bool for_step, SourceLocation where);
  void abandon_step(SourceLocation where);
  void zero(SourceLocation where);
  void pass_failed();
  void begin_step(SourceLocation where);
  void drop_step();
  void finish_join();
  void join_shards();
  void check(SourceLocation where);

  // For the guards.
  void hold_back(bool value);
  int passes() const { return passes_; }
  void begin_workers();
  void end_worker();

  const std::vector<Slot>& slots() const { return slots_; }
  std::span<const Slot> stepped() const { return pipeline_->stepped(); }
  bool sharded() const { return options_.sharding != Sharding::none; }
  double clip_norm(double norm_max, SourceLocation where);
  void need_all(Feature feature) const;
  std::size_t parameters() const { return parameters_; }
  std::vector<Slot> parameter_slots() const;
  std::vector<bool> used() const;
  std::uint64_t steps() const { return steps_; }
  const OptimizerOptions& options() const { return options_; }
  GradientMeaning meaning() const { return meaning_; }

 private:
  bool exchanges_use() const { return hooks_.missing != nullptr; }
  bool has_agreement() const { return agreement_.has_value(); }
  void log_options() const;
  void announced_again(std::size_t index, SourceLocation where);
  void take(std::size_t index, runtime::Runtime::Wake wake, SourceLocation where);
  void prepare_missing(std::size_t index);
  void submit(std::size_t index, runtime::Runtime::Wake wake, SourceLocation where);
  void submit_rest(bool abandons, SourceLocation where);
  void complete(bool abandons, SourceLocation where);
  void reduce_again(SourceLocation where);
  std::vector<std::vector<std::byte>> copies() const;
  void restore(const std::vector<std::vector<std::byte>>& copies);
  std::uint64_t hash_of_gradients() const;
  void give_up(SourceLocation where);
  void judge(const StepHeard& heard, bool abandons, SourceLocation where);
  void divide_by_contributors(int ranks);
  void notice_joins();
  void forget_passes();
  void count_unannounced();
  void report_unused() const;
  bool tells() const;
  void remember_gradients();
  void clear_gradients();
  bool begun() const;
  bool in_flight() const;
  void note_failed_pass();
  std::string title() const;

  std::vector<Slot> slots_;  ///< the parameters, then the agreement about the step
  const std::size_t parameters_;
  const GradientMeaning meaning_;
  const OptimizerOptions options_;
  const int set_size_;  ///< ranks of the process set
  const int rank_;      ///< world rank
  std::weak_ptr<runtime::Runtime> runtime_;
  const ReducerHooks hooks_;
  std::shared_ptr<DevicePort> device_;      ///< null without an accelerator
  std::optional<StepAgreement> agreement_;  ///< none for gradients in device memory
  std::optional<ParameterClaim> claim_;
  bool together_ = false;  ///< the gradients are submitted when all are complete
  int passes_ = 1;         ///< per step
  std::unique_ptr<Pipeline> pipeline_;
  std::vector<TreeAccumulator> sums_;  ///< per parameter; empty without virtual workers

  mutable std::mutex mutex_;
  std::vector<int> announcements_;  ///< per parameter: in this step
  std::vector<bool> held_back_;     ///< per parameter: announced inside no_sync() in this step
  std::vector<bool> used_here_;     ///< per parameter: announced in this step, or found anyway
  std::vector<bool> submitted_;     ///< per slot: in flight
  std::vector<int> unannounced_;    ///< per parameter: steps in a row that announced others
  std::vector<bool> ever_used_;     ///< per parameter: in some step
  std::vector<SlotNow> now_;        ///< where the program's tensors are
  int passes_done_ = 0;             ///< with virtual workers
  bool holding_back_ = false;
  bool synchronized_ = false;
  bool all_abandon_ = false;     ///< the last reduction was of a step that is given up
  int contributors_ = 0;         ///< ranks that had data in the last reduction
  bool joined_ = false;          ///< this rank has no data and steps its shard
  bool again_ = false;           ///< the gradients in flight may have been reduced before
  std::uint64_t hash_ = 0;       ///< of the gradients when the program last synchronized
  bool refused_ = false;         ///< a gradient was announced twice; the next one begins a step
  bool failed_pass_ = false;     ///< a backward pass has thrown; the step is yet to be given up
  bool announced_ = false;       ///< the program calls ready(): what is not announced is missing
  bool state_unknown_ = false;   ///< ranks made different numbers of steps; states may differ
  std::uint64_t steps_ = 0;      ///< made by this rank
  std::uint64_t joins_ = 0;      ///< of the process set, when last checked
  std::uint64_t all_joins_ = 0;  ///< of all sets
  std::uint64_t periods_ = 0;    ///< reductions of all slots, the same on all ranks
};

}  // namespace ringleader
