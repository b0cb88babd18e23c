// SPDX-License-Identifier: Apache-2.0
//
// GradientTransport: how the gradients of one optimizer reach the other ranks. GradientReducer
// knows when each is complete, and what belongs to a step; a transport moves them.
#pragma once

#include <ringleader/core/runtime/runtime.h>
#include <ringleader/core/source_location.h>
#include <ringleader/core/status.h>
#include <ringleader/core/tensor.h>
#include <ringleader/ops/slot.h>

#include <cstddef>
#include <vector>

namespace ringleader {

/// Threading: one thread at a time. In every step each slot is submitted once, in any order, and
/// then wait_for_all() is called.
class GradientTransport {
 public:
  GradientTransport() = default;
  virtual ~GradientTransport() = default;
  GradientTransport(const GradientTransport&) = delete;
  GradientTransport& operator=(const GradientTransport&) = delete;

  /// The gradient of slot `index` is complete on this rank. Does not block.
  virtual void submit(std::size_t index, runtime::Runtime::Wake wake, SourceLocation where) = 0;

  /// Blocks until all that was submitted has arrived; returns the first error.
  virtual Status wait_for_all() = 0;

  /// After the optimizer's update. Blocks.
  virtual void finish_step(SourceLocation /*where*/) {}

  /// The gradient of slot `index` is somewhere else from now on. Nothing of it is in flight.
  virtual void moved(std::size_t index) = 0;

  /// What turns a sum over the ranks as it arrives into that sum.
  virtual double sum_factor() const = 0;

  /// What the optimizer steps instead of its own slots; empty: its own.
  virtual const std::vector<Slot>& shards() const = 0;
};

}  // namespace ringleader
