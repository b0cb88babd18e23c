// SPDX-License-Identifier: Apache-2.0
//
// MovingBackend: runs batches whose tensors are moved into other memory for the time being, so that
// the conformance suite tests what is done with tensors there.
#pragma once

#include <ringleader/collectives/shm/segment.h>
#include <ringleader/core/runtime/backend.h>
#include <ringleader/core/runtime/device.h>

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <numeric>

namespace ringleader::test {

/// The other memory.
struct Elsewhere {
  Device device = Device::host;
  std::function<std::shared_ptr<std::byte>(std::size_t bytes)> allocate;
  std::function<void(void* to, const void* from, std::size_t bytes)> copy;
  /// What must have happened before a batch is run; may be empty.
  std::function<std::shared_ptr<DeviceEvent>()> ready;
};

inline Elsewhere in_segment(shm::Segment& segment) {
  Elsewhere elsewhere;
  elsewhere.allocate = [&segment](std::size_t bytes) {
    void* const memory = segment.allocate(static_cast<std::int64_t>(bytes));
    return std::shared_ptr<std::byte>(static_cast<std::byte*>(memory),
                                      [&segment](std::byte* data) { segment.free(data); });
  };
  elsewhere.copy = [](void* to, const void* from, std::size_t bytes) {
    std::memcpy(to, from, bytes);
  };
  return elsewhere;
}

/// Errors of the device end the test.
inline Elsewhere on_device(DevicePort& port) {
  constexpr void* kDefaultStream = nullptr;
  Elsewhere elsewhere;
  elsewhere.device = Device::cuda;
  elsewhere.allocate = [&port](std::size_t bytes) {
    auto memory = port.allocate(bytes);
    throw_if_error(memory.status());
    return *memory;
  };
  elsewhere.copy = [&port](void* to, const void* from, std::size_t bytes) {
    throw_if_error(port.copy(kDefaultStream, to, from, bytes));
  };
  elsewhere.ready = [&port] {
    auto event = port.record(kDefaultStream);
    throw_if_error(event.status());
    return *event;
  };
  return elsewhere;
}

class MovingBackend : public Backend {
 public:
  MovingBackend(Backend& inner, Elsewhere elsewhere)
      : inner_(inner), elsewhere_(std::move(elsewhere)) {}

  std::string_view name() const override { return inner_.name(); }
  bool supports(const Batch& batch) const override {
    Batch there = batch;
    there.device = elsewhere_.device;
    return inner_.supports(there);
  }

  Result<Ticket> launch(const Batch& batch) override {
    auto moved = std::make_unique<Moved>();
    moved->original = &batch;
    moved->batch = batch;
    moved->batch.device = elsewhere_.device;
    for (std::size_t t = 0; t < batch.tensors.size(); ++t) move_in(*moved, t);
    if (elsewhere_.ready) {
      moved->ready = elsewhere_.ready();
      moved->batch.ready = {moved->ready.get()};
    }
    const Result<Ticket> ticket = inner_.launch(moved->batch);
    if (ticket.ok()) running_[*ticket] = std::move(moved);
    return ticket;
  }

  std::optional<Status> poll(Ticket ticket) override {
    std::optional<Status> outcome = inner_.poll(ticket);
    if (!outcome) return outcome;
    Moved& moved = *running_.at(ticket);
    for (std::size_t t = 0; t < moved.batch.tensors.size(); ++t) {
      copy(moved.batch.tensors[t].output, moved.original->tensors[t].output,
           output_bytes(moved.batch, t));
    }
    running_.erase(ticket);
    return outcome;
  }

  void close_channel(std::uint32_t channel) override { inner_.close_channel(channel); }

 private:
  struct Moved {
    const Batch* original = nullptr;
    Batch batch;
    std::vector<std::shared_ptr<std::byte>> memory;
    std::shared_ptr<DeviceEvent> ready;
  };

  static std::size_t input_bytes(const Batch& batch, std::size_t t) {
    return static_cast<std::size_t>(batch.tensors[t].count) * size_of(batch.dtype);
  }
  static std::size_t output_bytes(const Batch& batch, std::size_t t) {
    const auto& blocks = batch.block_counts;
    std::int64_t count = batch.tensors[t].count;
    if (batch.op == Op::reduce_scatter) count = blocks[static_cast<std::size_t>(batch.group->rank)];
    if (batch.op == Op::allgather || batch.op == Op::alltoall || batch.op == Op::exchange) {
      count = std::accumulate(blocks.begin(), blocks.end(), std::int64_t{0});
    }
    return static_cast<std::size_t>(count) * size_of(batch.dtype);
  }
  void copy(const void* from, void* to, std::size_t bytes) {
    if (bytes > 0) elsewhere_.copy(to, from, bytes);
  }

  /// One piece of memory for input and output if one of them is in the other, else two.
  void move_in(Moved& moved, std::size_t t) {
    const BatchTensor& tensor = moved.original->tensors[t];
    const auto* in = static_cast<const std::byte*>(tensor.input);
    auto* out = static_cast<std::byte*>(tensor.output);
    const std::size_t in_bytes = input_bytes(moved.batch, t);
    const std::size_t out_bytes = output_bytes(moved.batch, t);
    BatchTensor& there = moved.batch.tensors[t];
    if (out_bytes > in_bytes && in >= out && in + in_bytes <= out + out_bytes) {
      std::byte* memory = take(moved, out_bytes);
      copy(out, memory, out_bytes);
      there.output = memory;
      there.input = memory + (in - out);
    } else if (out >= in && out + out_bytes <= in + in_bytes) {
      std::byte* memory = take(moved, in_bytes);
      copy(in, memory, in_bytes);
      there.input = memory;
      there.output = memory + (out - in);
    } else {
      std::byte* memory = take(moved, in_bytes);
      copy(in, memory, in_bytes);
      there.input = memory;
      there.output = take(moved, out_bytes);
    }
  }

  std::byte* take(Moved& moved, std::size_t bytes) {
    moved.memory.push_back(elsewhere_.allocate(bytes));
    return moved.memory.back().get();
  }

  Backend& inner_;
  Elsewhere elsewhere_;
  std::map<Ticket, std::unique_ptr<Moved>> running_;
};

}  // namespace ringleader::test
