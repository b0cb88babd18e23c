// SPDX-License-Identifier: Apache-2.0
//
// Plan: tensors that a program moves in every step, registered once. After the first step they need
// no control message.
//
//   Plan plan("DistributedOptimizer 'a'", request, where);
//   plan.place(0, input, output);                    // where the tensor lies
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
  /// Agrees on the request, of RequestKind::register_plan, with the other ranks. Collective,
  /// blocks. title  what errors call it
  Plan(std::string title, protocol::Request request, SourceLocation where);
  /// Releases it. Waits for what is still in a stream.
  ~Plan();
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  /// From here on tensor `index` lies there. Nothing of it is in flight.
  /// stream  of device memory: the program's
  void place(std::size_t index, const TensorBuffers& buffers, void* stream = nullptr);

  /// The tensor is ready on this rank. Does not block.
  void submit(std::size_t index, runtime::Runtime::Wake wake, SourceLocation where);

  /// Blocks until a tensor that was submitted is there; on a device until the program's stream
  /// waits for it. Of one that was not it says what became of the last.
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
