// SPDX-License-Identifier: Apache-2.0
//
// Handle: the user's side of a pending operation.
//
//   Handle handle = allreduce_async("loss", view);
//   ...                                   // compute meanwhile
//   handle.wait();                        // throws Error if the operation failed
//
// A Handle may be copied, waited on more than once, and dropped. Dropping it does not cancel the
// operation: its memory must stay valid until the operation has completed.
#pragma once

#include <ringleader/core/output.h>
#include <ringleader/core/status.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace ringleader {

class Operation;

/// Threading: all members may be called from any thread.
class [[nodiscard]] Handle {
 public:
  Handle() = default;
  /// For the library: operations make handles.
  explicit Handle(std::shared_ptr<Operation> operation) : operation_(std::move(operation)) {}

  /// True once the operation has completed, with a result or an error. Does not block.
  bool ready() const;

  /// Calls `callback` with the outcome once the operation has completed, or at once if it already
  /// has. The callback runs on whichever thread completes the operation. It may submit operations
  /// and wait for them. It must not throw.
  void then(std::function<void(const Status&)> callback) const;

  /// Blocks until the operation has completed; throws Error if it failed.
  void wait() const;

  /// Device memory: makes work enqueued in `stream` (a cudaStream_t) from now on wait for the
  /// result. The calling thread does not wait for the result: it blocks only until the ranks have
  /// decided on the operation, which for the parameters of an optimizer is at once. Host memory:
  /// same as wait(). Throws Error for a failure that is known by then; a failure on the device
  /// makes later operations fail.
  void wait(void* stream) const;

  /// Blocks until the operation has completed and returns its outcome as a value.
  Status status() const;

  /// Blocks, throws Error on failure, and returns the tensor that the operation made.
  const Output& output() const;

  /// Blocks, throws Error on failure, and returns the operation's number: for join the rank that
  /// joined last, for process sets the id.
  std::int64_t value() const;

 private:
  std::shared_ptr<Operation> operation_;
};

}  // namespace ringleader
