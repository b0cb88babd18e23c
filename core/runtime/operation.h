// SPDX-License-Identifier: Apache-2.0
//
// Operation: everything about one submitted operation, shared by the user's Handle and the
// runtime.
#pragma once

#include <ringleader/core/output.h>
#include <ringleader/core/protocol/plan_state.h>
#include <ringleader/core/protocol/request.h>
#include <ringleader/core/runtime/device.h>
#include <ringleader/core/source_location.h>
#include <ringleader/core/status.h>
#include <ringleader/core/tensor.h>
#include <ringleader/core/trace.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

namespace ringleader {

namespace runtime {
class Runtime;
}

/// Where one tensor of an operation lies in the user's memory.
struct TensorBuffers {
  const void* input = nullptr;
  void* output = nullptr;
  bool wire_type_differs = false;  ///< see BatchTensor
};

/// A parameter of a registered plan.
struct PlanParameterRequest {
  std::uint32_t plan = 0;
  std::uint32_t index = 0;
};

/// Threading: the submitting thread fills in the request and hands the operation over; from then on
/// only the thread that drives the runtime writes, until it sets `done`. After that the outcome is
/// constant and any thread may read it.
class Operation {
 public:
  // What is asked for.
  std::variant<protocol::Request, PlanParameterRequest> request;
  std::vector<TensorBuffers> buffers;    ///< one per tensor of the request
  Shape input_shape;                     ///< this rank's shape, if the result's depends on it
  std::vector<std::int64_t> split_rows;  ///< alltoall: rows for each member
  SourceLocation where;                  ///< the call that submitted it

  /// Device memory: the user's streams, each once, and events for the work in them at submission.
  std::vector<void*> streams;
  std::vector<std::shared_ptr<DeviceEvent>> ready;

  // The outcome.
  Status status;
  std::int64_t value = 0;
  Output output;  ///< if the operation makes one

  /// The runtime releases it after writing the outcome; readers of the outcome acquire it.
  std::atomic<bool> done{false};

  /// Device memory: the events after which the result is available. Complete when `enqueued` is
  /// set, which is as soon as all of it is in a stream of the library.
  std::vector<std::shared_ptr<DeviceEvent>> ended;
  std::atomic<bool> enqueued{false};

  std::weak_ptr<runtime::Runtime> runtime;  ///< the one that completes it
  TraceRange negotiation;                   ///< from its submission to the ranks' decision
  std::uint64_t flight = 0;                 ///< its number in the flight recorder

  /// The protocol's number for it; kNoToken until the runtime has taken it from the mailbox.
  std::atomic<protocol::Token> token{protocol::kNoToken};

  // What to call when it is done; guarded by the runtime. `awaited` is set after a callback is
  // added, and `done` before callbacks are looked for, so one of the two sides always finds the
  // other.
  std::vector<std::function<void(const Status&)>> callbacks;
  std::atomic<bool> awaited{false};
};

}  // namespace ringleader
