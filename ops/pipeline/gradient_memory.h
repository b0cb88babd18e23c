// SPDX-License-Identifier: Apache-2.0
//
// GradientMemory: where the gradients of an optimizer are reduced. Those that may be moved are put
// into one piece of memory that the ranks of a node share, the last first; with compression, the
// copies of 16 bits that travel are there instead. On a device there are no copies: what packs the
// gradients converts them.
#pragma once

#include <ringleader/core/runtime/device.h>
#include <ringleader/core/tensor.h>
#include <ringleader/ops/slot.h>

#include <cstddef>
#include <memory>
#include <vector>

namespace ringleader {

/// The type in which a gradient of type `dtype` travels.
inline DType wire_type(DType dtype, DType compressed) {
  return dtype == DType::f32 ? compressed : dtype;
}

class GradientMemory {
 public:
  /// Moves the gradients of `slots`, which must outlive this, and changes their addresses there.
  /// compressed  the type in which f32 gradients travel; f32: none
  /// device      for gradients in its memory, which are moved into one piece of it
  /// packed      what travels is one piece, without gaps: gradients that cannot be moved are
  /// copied.
  ///             For gradients in host memory that travel in one type
  GradientMemory(std::vector<Slot>& slots, DType compressed, std::shared_ptr<DevicePort> device,
                 bool packed = false);
  /// Moves the gradients back to where they were.
  ~GradientMemory();
  GradientMemory(const GradientMemory&) = delete;
  GradientMemory& operator=(const GradientMemory&) = delete;

  /// What travels for slot `index`.
  const TensorView& wire(std::size_t index) const { return wires_[index]; }

  /// Whether it travels in fewer bits than it has there: on a device, what packs it rounds it.
  bool wire_type_differs(std::size_t index) const {
    return wires_[index].dtype() != wire_type(slots_[index].gradient.dtype(), compressed_);
  }

  /// The program has put the gradient of slot `index` somewhere else.
  void moved(std::size_t index);

  /// Brings the gradient into what travels, rounding it if need be, and the result back; nothing
  /// where it is that itself, and on a device.
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
  std::vector<void*> homes_;  ///< per slot: where its gradient came from; null: it was not moved
};

}  // namespace ringleader
