// SPDX-License-Identifier: Apache-2.0
//
// What is behind GradientReducer and the guards of DistributedOptimizer.
#pragma once

#include <ringleader/core/runtime/runtime.h>
#include <ringleader/ops/gradient_memory.h>
#include <ringleader/ops/gradient_reducer.h>
#include <ringleader/ops/optimizer_checks.h>
#include <ringleader/ops/tree_accumulator.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace ringleader {

class GradientReducer::Impl {
 public:
  Impl(std::vector<Slot> slots, GradientMeaning meaning, const OptimizerOptions& options,
       bool exchange_use, SourceLocation where);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void ready(std::size_t index, SourceLocation where);
  void synchronize(SourceLocation where);
  void begin_step();

  // For the guards.
  void hold_back(bool value);
  int passes() const { return passes_; }
  void begin_workers();
  void end_worker();

  const std::vector<Slot>& slots() const { return slots_; }
  std::size_t parameters() const { return parameters_; }
  std::vector<bool> used() const;
  const OptimizerOptions& options() const { return options_; }
  GradientMeaning meaning() const { return meaning_; }

 private:
  void log_options() const;
  void take(std::size_t index, runtime::Runtime::Wake wake, SourceLocation where);
  void clear_if_missing(std::size_t index);
  void submit(std::size_t index, runtime::Runtime::Wake wake, SourceLocation where);
  void submit_rest(SourceLocation where);
  Status wait_for_all();
  void complete_step();
  void forget_passes();

  std::vector<Slot> slots_;  ///< the parameters, then use_ if it is exchanged
  std::size_t parameters_;
  std::vector<float> use_;  ///< per parameter: above 0 if a rank announced it in this step
  GradientMeaning meaning_;
  OptimizerOptions options_;
  std::weak_ptr<runtime::Runtime> runtime_;
  std::shared_ptr<DevicePort> device_;  ///< null without an accelerator
  std::optional<ParameterClaim> claim_;
  std::uint32_t plan_ = 0;
  int passes_ = 1;  ///< per step
  std::optional<GradientMemory> memory_;
  std::vector<TreeAccumulator> sums_;  ///< per slot; empty without virtual workers

  std::mutex mutex_;
  std::vector<int> announcements_;  ///< per slot: in this step
  std::vector<bool> held_back_;     ///< per slot: announced inside no_sync() in this step
  std::vector<bool> used_here_;     ///< per parameter: announced in this step
  std::vector<std::shared_ptr<Operation>>
      operations_;               ///< per slot: in flight, or of the last step
  std::vector<bool> submitted_;  ///< per slot: in flight
  int passes_done_ = 0;          ///< with virtual workers
  bool holding_back_ = false;
  bool synchronized_ = false;
  bool announced_ = false;  ///< the program calls ready(): what is not announced is missing
};

}  // namespace ringleader
