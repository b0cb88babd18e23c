// SPDX-License-Identifier: Apache-2.0
//
// Device: the port through which the runtime deals with an accelerator's memory and streams. It
// moves no tensors; that is a Backend's part. Streams are opaque, as the user gave them.
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

  /// The calling thread is the library's own: nobody minds which device is current in it.
  virtual void adopt_thread() = 0;

  /// Everything that has been put into the stream. Does not block.
  virtual Result<std::shared_ptr<DeviceEvent>> record(void* stream) = 0;

  /// What is put into the stream from now on waits for the event. Does not block.
  virtual Status wait(void* stream, const DeviceEvent& event) = 0;

  /// Between memories of any kind; zeros. In the order of the stream; a copy from or to ordinary
  /// memory may block.
  virtual Status copy(void* stream, void* to, const void* from, std::size_t bytes) = 0;
  virtual Status clear(void* stream, void* memory, std::size_t bytes) = 0;

  /// Floats times a factor, in the tensor's stream.
  virtual Status multiply(const TensorView& tensor, double factor) = 0;

  /// Of all elements, which are floats: the same for the same numbers. Blocks until the tensors'
  /// streams have come so far.
  virtual Result<double> sum_of_squares(const std::vector<TensorView>& tensors) = 0;

  /// Memory aligned for any element type. May wait for the device.
  virtual Result<std::shared_ptr<std::byte>> allocate(std::size_t bytes) = 0;

  /// Memory of neutral elements of a reduction: what a joined rank contributes. Blocks.
  virtual Result<std::shared_ptr<std::byte>> allocate_neutral(std::int64_t count, DType dtype,
                                                              ReduceOp op) = 0;
};

}  // namespace ringleader
