// SPDX-License-Identifier: Apache-2.0
//
// PlanTransport: all gradients are averaged on all ranks, by a plan, without control messages.
#pragma once

#include <ringleader/ops/gradient_memory.h>
#include <ringleader/ops/gradient_reducer.h>
#include <ringleader/ops/gradient_transport.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace ringleader {

class PlanTransport : public GradientTransport {
 public:
  /// Collective: agrees on names, shapes and order. Blocks. `slots` must outlive this; gradients
  /// that can be moved are, by move_gradients().
  PlanTransport(std::vector<Slot>& slots, GradientMeaning meaning, const OptimizerOptions& options,
                int passes, SourceLocation where);
  ~PlanTransport() override;

  void move_gradients();

  void submit(std::size_t index, runtime::Runtime::Wake wake, SourceLocation where) override;
  Status wait_for_all() override;
  void moved(std::size_t index) override;
  double sum_factor() const override { return sum_factor_; }
  const std::vector<Slot>& shards() const override { return no_shards_; }

 private:
  std::vector<Slot>& slots_;
  const OptimizerOptions options_;
  const std::weak_ptr<runtime::Runtime> runtime_;
  std::uint32_t plan_ = 0;
  double sum_factor_ = 1;
  std::optional<GradientMemory> memory_;
  std::vector<std::shared_ptr<Operation>>
      operations_;  ///< per slot: in flight, or of the last step
  std::vector<Slot> no_shards_;
};

}  // namespace ringleader
