// SPDX-License-Identifier: Apache-2.0
//
// Handle: the user's side of a pending operation.
//
//   Handle handle = allreduce_async("loss", view);
//   ...                                   // compute meanwhile
//   handle.wait();                        // throws Error if the operation failed
//
// A Handle may be copied, waited for more than once and dropped; dropping it does not cancel the
// operation, whose memory must stay valid until it has completed.
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

  /// Calls back with the outcome once the operation has completed, at once if it has. The callback
  /// runs on whichever thread completes the operation; it may submit operations, also ones that it
  /// then waits for, and must not throw.
  void then(std::function<void(const Status&)> callback) const;

  /// Blocks until the operation has completed; throws Error if it failed.
  void wait() const;

  /// Device memory: makes what is put into `stream` (a cudaStream_t) from now on wait for the
  /// result, and does not wait for it itself: it blocks until the ranks have decided on the
  /// operation, which for the parameters of an optimizer is at once. Host memory: as wait(). Throws
  /// Error for a failure that is known by then; one on the device ends later operations.
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
