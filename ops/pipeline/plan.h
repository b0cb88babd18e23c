// SPDX-License-Identifier: Apache-2.0
//
// Plan: tensors that a program moves in every step, registered once. After the first step they need
// no control messages.
//
//   Plan plan("DistributedOptimizer 'a'", request, where);
//   plan.place(0, {input, output});                  // where the tensor is
//   plan.submit(0, wake, where);                     // in every step
//   throw_if_error(plan.wait(0));
#pragma once

#include <ringleader/core/protocol/request.h>
#include <ringleader/core/runtime/operation.h>
#include <ringleader/core/runtime/runtime.h>
#include <ringleader/core/source_location.h>
#include <ringleader/core/status.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ringleader {

/// Threading: one thread at a time.
class Plan {
 public:
  /// Agrees on `request`, of RequestKind::register_plan, with the other ranks. Collective, blocks.
  /// title  what errors call the plan
  Plan(std::string title, protocol::Request request, SourceLocation where);
  /// Releases the plan. Waits for work that is still in a stream.
  ~Plan();
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  /// Tensor `index` is there from now on. It must not be in flight.
  /// stream  for device memory: the program's stream
  void place(std::size_t index, const TensorBuffers& buffers, void* stream = nullptr);

  /// The tensor is ready on this rank. Does not block.
  void submit(std::size_t index, runtime::Runtime::Wake wake, SourceLocation where);

  /// Blocks until a submitted tensor has completed; on a device, until the program's stream waits
  /// for it. For a tensor that was not submitted, returns the outcome of its last submission.
  Status wait(std::size_t index);

  std::size_t size() const { return tensors_.size(); }

 private:
  struct Tensor {
    TensorBuffers buffers;
    void* stream = nullptr;
    std::shared_ptr<Operation> operation;  ///< in flight, or of the last step
  };

  std::string title_;
  std::uint32_t process_set_;
  bool on_device_;
  std::weak_ptr<runtime::Runtime> runtime_;
  std::uint32_t plan_ = 0;
  std::vector<Tensor> tensors_;
};

}  // namespace ringleader
