// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/pipeline/gradient_memory.h>

#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/core/log.h>
#include <ringleader/ops/memory.h>

#include <cstring>
#include <utility>

namespace ringleader {
namespace {

constexpr std::size_t kCacheLine = 64;

constexpr std::size_t kDeviceAlignment = 16;  // the widest access of a thread

std::size_t rounded_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

GradientMemory::GradientMemory(std::vector<Slot>& slots, DType compressed,
                               std::shared_ptr<DevicePort> device, bool packed)
    : slots_(slots),
      compressed_(compressed),
      packed_(packed),
      device_(std::move(device)),
      wires_(slots.size()),
      homes_(slots.size(), nullptr) {
  const bool on_host = slots_.front().gradient.device() == Device::host;
  // On a device, as close together as kernels allow: contiguous gradients need no packing.
  const std::size_t unit = on_host ? kCacheLine : kDeviceAlignment;
  std::vector<std::size_t> room(slots_.size());
  std::size_t total = 0;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    const DType travels = travelling(slot.gradient);
    const bool moves = packed_ || travels != slot.gradient.dtype() || slot.move_gradient;
    const auto count = static_cast<std::size_t>(slot.gradient.count());
    const std::size_t bytes = count * size_of(travels);
    room[i] = moves ? rounded_up(bytes, packed_ ? 1 : unit) : 0;
    total += room[i];
  }
  if (total > 0) memory_ = allocate(total, on_host);
  auto* next = static_cast<std::byte*>(memory_.get());
  // Usually the order of the plan's batches (protocol/fusion.h), so that a whole batch is
  // contiguous.
  for (std::size_t k = 0; k < slots_.size(); ++k) {
    const std::size_t i = packed_ ? k : slots_.size() - 1 - k;
    place(i, room[i] > 0 || packed_ ? next : nullptr);
    next += room[i];
  }
}

std::shared_ptr<void> GradientMemory::allocate(std::size_t bytes, bool on_host) {
  if (on_host) return {ringleader::allocate(bytes), [](void* memory) { ringleader::free(memory); }};
  auto memory = device_->allocate(bytes);
  throw_if_error(memory.status());
  return *memory;
}

void GradientMemory::move_gradient(Slot& slot, void* to) {
  TensorView& gradient = slot.gradient;
  if (gradient.bytes() > 0 && gradient.device() == Device::host) {
    std::memcpy(to, gradient.data(), gradient.bytes());
  } else if (gradient.bytes() > 0) {
    throw_if_error(device_->copy(gradient.stream(), to, gradient.data(), gradient.bytes()));
  }
  gradient =
      TensorView(to, gradient.shape(), gradient.dtype(), gradient.device()).on(gradient.stream());
  slot.move_gradient(to);
}

/// On a device, gradients are converted as they are packed.
DType GradientMemory::travelling(const TensorView& gradient) const {
  if (gradient.device() != Device::host) return gradient.dtype();
  return wire_type(gradient.dtype(), compressed_);
}

/// `memory` is null for a gradient that stays where it is.
void GradientMemory::place(std::size_t index, std::byte* memory) {
  Slot& slot = slots_[index];
  const DType travels = travelling(slot.gradient);
  if (memory != nullptr && (travels != slot.gradient.dtype() || !slot.move_gradient)) {
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
    if (homes_[i] == nullptr) continue;
    try {
      move_gradient(slots_[i], homes_[i]);
    } catch (const Error& error) {  // the device is lost, and its memory with it
      log(LogLevel::error, error.what());
      return;
    }
  }
}

void GradientMemory::moved(std::size_t index) {
  if (!packed_ && wires_[index].dtype() == slots_[index].gradient.dtype()) {
    wires_[index] = slots_[index].gradient;
  }
  homes_[index] = nullptr;  // it belongs to the program again
}

void GradientMemory::compress(std::size_t index) {
  const TensorView& gradient = slots_[index].gradient;
  const TensorView& wire = wires_[index];
  if (wire.data() == gradient.data() || wire.count() == 0) return;
  kernels::convert(gradient.dtype(), gradient.data(), wire.dtype(), wire.data(), wire.count());
}

void GradientMemory::expand(std::size_t index) {
  const TensorView& gradient = slots_[index].gradient;
  const TensorView& wire = wires_[index];
  if (wire.data() == gradient.data() || wire.count() == 0) return;
  kernels::convert(wire.dtype(), wire.data(), gradient.dtype(), gradient.data(), wire.count());
}

}  // namespace ringleader
