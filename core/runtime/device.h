// SPDX-License-Identifier: Apache-2.0
//
// Device: the port through which the runtime uses an accelerator's memory and streams. It moves no
// tensors; that is a Backend's job. Streams are opaque, as the user passed them.
#pragma once

#include <ringleader/core/result.h>
#include <ringleader/core/tensor.h>
#include <ringleader/core/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace ringleader {

/// A point in the work of a stream.
class DeviceEvent {
 public:
  virtual ~DeviceEvent() = default;
};

/// Threading: any.
class DevicePort {
 public:
  virtual ~DevicePort() = default;

  /// The calling thread is the library's own: its current device may be changed.
  virtual void adopt_thread() = 0;

  /// An event after all work that has been enqueued in the stream. Does not block.
  virtual Result<std::shared_ptr<DeviceEvent>> record(void* stream) = 0;

  /// Makes work enqueued in the stream from now on wait for the event. Does not block.
  virtual Status wait(void* stream, const DeviceEvent& event) = 0;

  /// copy() works between any kinds of memory; clear() writes zeros. Both run in stream order. A
  /// copy from or to ordinary memory may block.
  virtual Status copy(void* stream, void* to, const void* from, std::size_t bytes) = 0;
  virtual Status clear(void* stream, void* memory, std::size_t bytes) = 0;

  /// Multiplies floats by a factor, in the tensor's stream.
  virtual Status multiply(const TensorView& tensor, double factor) = 0;

  /// The sum of squares of all elements, which are floats; the same numbers give the same sum.
  /// Blocks until the tensors' streams have come this far.
  virtual Result<double> sum_of_squares(const std::vector<TensorView>& tensors) = 0;

  /// Memory aligned for any element type. May wait for the device.
  virtual Result<std::shared_ptr<std::byte>> allocate(std::size_t bytes) = 0;

  /// Memory filled with neutral elements of a reduction: what a joined rank contributes. Blocks.
  virtual Result<std::shared_ptr<std::byte>> allocate_neutral(std::int64_t count, DType dtype,
                                                              ReduceOp op) = 0;
};

}  // namespace ringleader
