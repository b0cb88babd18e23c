// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/gradient_memory.h>

#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/ops/memory.h>

#include <cstring>

namespace ringleader {
namespace {

constexpr std::size_t kCacheLine = 64;

std::size_t lines(std::size_t bytes) { return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine; }

void move_gradient(Slot& slot, void* to) {
  TensorView& gradient = slot.gradient;
  if (gradient.bytes() > 0) std::memcpy(to, gradient.data(), gradient.bytes());
  gradient = TensorView(to, gradient.shape(), gradient.dtype());
  slot.move_gradient(to);
}

}  // namespace

GradientMemory::GradientMemory(std::vector<Slot>& slots, DType compressed)
    : slots_(slots), compressed_(compressed), wires_(slots.size()), homes_(slots.size(), nullptr) {
  std::vector<std::size_t> room;
  std::size_t total = 0;
  for (const Slot& slot : slots_) {
    const DType travels = wire_type(slot.gradient.dtype(), compressed_);
    const bool moves = travels != slot.gradient.dtype() || slot.move_gradient;
    const auto count = static_cast<std::size_t>(slot.gradient.count());
    room.push_back(moves ? lines(count * size_of(travels)) : 0);
    total += room.back();
  }
  if (total > 0) shared_ = ringleader::allocate(total);
  auto* next = static_cast<std::byte*>(shared_);
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    place(i, room[i] > 0 ? next : nullptr);
    next += room[i];
  }
}

/// `memory` is null for what stays where it is.
void GradientMemory::place(std::size_t index, std::byte* memory) {
  Slot& slot = slots_[index];
  const DType travels = wire_type(slot.gradient.dtype(), compressed_);
  if (memory != nullptr && travels != slot.gradient.dtype()) {
    wires_[index] = TensorView(memory, slot.gradient.shape(), travels);
    return;
  }
  if (memory != nullptr) {
    homes_[index] = slot.gradient.data();
    move_gradient(slot, memory);
  }
  wires_[index] = slot.gradient;
}

GradientMemory::~GradientMemory() {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (homes_[i] != nullptr) move_gradient(slots_[i], homes_[i]);
  }
  ringleader::free(shared_);
}

void GradientMemory::compress(std::size_t index) {
  const TensorView& gradient = slots_[index].gradient;
  const TensorView& wire = wires_[index];
  if (wire.data() == gradient.data()) return;
  kernels::convert(gradient.dtype(), gradient.data(), wire.dtype(), wire.data(), wire.count());
}

void GradientMemory::expand(std::size_t index) {
  const TensorView& gradient = slots_[index].gradient;
  const TensorView& wire = wires_[index];
  if (wire.data() == gradient.data()) return;
  kernels::convert(wire.dtype(), wire.data(), gradient.dtype(), gradient.data(), wire.count());
}

}  // namespace ringleader
