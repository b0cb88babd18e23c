// SPDX-License-Identifier: Apache-2.0
//
// GradientMemory: where the gradients of an optimizer are reduced. Gradients that may be moved are
// put into one block of memory that the ranks of a node share, the last one first. With
// compression, that block holds the 16-bit copies that are sent instead. On a device there are no
// copies: gradients are converted as they are packed.
#pragma once

#include <ringleader/core/runtime/device.h>
#include <ringleader/core/tensor.h>
#include <ringleader/ops/slot.h>

#include <cstddef>
#include <memory>
#include <vector>

namespace ringleader {

/// The type in which a gradient of type `dtype` is sent.
inline DType wire_type(DType dtype, DType compressed) {
  return dtype == DType::f32 ? compressed : dtype;
}

class GradientMemory {
 public:
  /// Moves the gradients and updates their addresses in `slots`, which must outlive this.
  /// compressed  the type in which f32 gradients are sent; f32: no compression
  /// device      for gradients in its memory, which are moved into one block of it
  /// packed      what is sent is one block without gaps; gradients that cannot be moved are copied.
  ///             For gradients in host memory that are all sent in one type
  GradientMemory(std::vector<Slot>& slots, DType compressed, std::shared_ptr<DevicePort> device,
                 bool packed = false);
  /// Moves the gradients back to where they were.
  ~GradientMemory();
  GradientMemory(const GradientMemory&) = delete;
  GradientMemory& operator=(const GradientMemory&) = delete;

  /// The tensor that is sent for slot `index`.
  const TensorView& wire(std::size_t index) const { return wires_[index]; }

  /// Whether the tensor is sent in fewer bits than it has in wire(): on a device, packing rounds
  /// it.
  bool wire_type_differs(std::size_t index) const {
    return wires_[index].dtype() != wire_type(slots_[index].gradient.dtype(), compressed_);
  }

  /// Call when the program has put the gradient of slot `index` somewhere else.
  void moved(std::size_t index);

  /// compress() copies the gradient into the tensor that is sent, rounding it if necessary.
  /// expand() copies the result back. They do nothing if both are the same memory, and on a device.
  void compress(std::size_t index);
  void expand(std::size_t index);

 private:
  void place(std::size_t index, std::byte* memory);
  DType travelling(const TensorView& gradient) const;
  std::shared_ptr<void> allocate(std::size_t bytes, bool on_host);
  void move_gradient(Slot& slot, void* to);

  std::vector<Slot>& slots_;
  DType compressed_;
  bool packed_;
  std::shared_ptr<DevicePort> device_;
  std::shared_ptr<void> memory_;
  std::vector<TensorView> wires_;
  std::vector<void*> homes_;  ///< per slot: where its gradient came from; null: not moved
};

}  // namespace ringleader
