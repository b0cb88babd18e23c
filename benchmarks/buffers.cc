// SPDX-License-Identifier: Apache-2.0
#include "buffers.h"

#include <ringleader/core/number.h>
#include <ringleader/ops/session/current_session.h>
#include <ringleader/ringleader.h>

#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

namespace ringleader::benchmarks {
namespace {

/// Small numbers whose sums and products are exact in every element type.
int element_of(int rank, std::int64_t index, ReduceOp op) {
  if (op == ReduceOp::product) return 1 + static_cast<int>((index + rank) % 2);
  return static_cast<int>((index + 3 * rank) % 7);
}

double expected_of(int ranks, std::int64_t index, ReduceOp op) {
  double total = element_of(0, index, op);
  for (int rank = 1; rank < ranks; ++rank) {
    const double next = element_of(rank, index, op);
    if (op == ReduceOp::min) total = std::min(total, next);
    if (op == ReduceOp::max) total = std::max(total, next);
    if (op == ReduceOp::product) total *= next;
    if (op == ReduceOp::sum || op == ReduceOp::average) total += next;
  }
  return op == ReduceOp::average ? total / ranks : total;
}

constexpr void* kDefaultStream = nullptr;

std::shared_ptr<std::byte> take(Placement placement, std::size_t bytes) {
  switch (placement) {
    case Placement::arena:
      return {static_cast<std::byte*>(allocate(bytes)), ringleader::free};
    case Placement::device: {
      const std::shared_ptr<DevicePort> device = current_device();
      if (device == nullptr) throw Error(Status(Code::unsupported, "there is no GPU here"));
      auto memory = device->allocate(bytes);
      throw_if_error(memory.status());
      return *memory;
    }
    default: {
      constexpr std::align_val_t kAlignment{64};
      auto* const memory =
          static_cast<std::byte*>(::operator new(std::max<std::size_t>(bytes, 1), kAlignment));
      return {memory, [](std::byte* data) { ::operator delete(data, kAlignment); }};
    }
  }
}

}  // namespace

std::string name_of(Placement placement) {
  switch (placement) {
    case Placement::arena:
      return "arena";
    case Placement::inplace:
      return "inplace";
    case Placement::device:
      return "device";
    default:
      return "outofplace";
  }
}

Buffers::Buffers(Placement placement, DType dtype, std::int64_t input_count,
                 std::int64_t output_count)
    : placement_(placement), dtype_(dtype), input_count_(input_count), output_count_(output_count) {
  const bool one = placement != Placement::outofplace && placement != Placement::device;
  memory_ = take(placement, bytes_of(one ? std::max(input_count, output_count) : input_count));
  if (!one) more_memory_ = take(placement, bytes_of(output_count));
  input_ = memory_.get();
  output_ = one ? input_ : more_memory_.get();
  clear();
}

Device Buffers::device() const {
  return placement_ == Placement::device ? Device::cuda : Device::host;
}

/// Between these buffers and ordinary memory.
void Buffers::copy(void* to, const void* from, std::size_t bytes) const {
  if (bytes == 0) return;
  if (device() == Device::host) {
    std::memcpy(to, from, bytes);
  } else {
    throw_if_error(current_device()->copy(kDefaultStream, to, from, bytes));
  }
}

std::size_t Buffers::bytes_of(std::int64_t count) const {
  return static_cast<std::size_t>(count) * size_of(dtype_);
}

void Buffers::fill(ReduceOp op) {
  with_type(dtype_, [&](auto zero) {
    using T = decltype(zero);
    std::vector<T> values;
    for (std::int64_t i = 0; i < input_count_; ++i) {
      values.push_back(static_cast<T>(static_cast<float>(element_of(rank(), i, op))));
    }
    copy(input_, values.data(), bytes_of(input_count_));
  });
}

void Buffers::clear() {
  const std::vector<std::byte> zeros(bytes_of(std::max(input_count_, output_count_)));
  copy(input_, zeros.data(), bytes_of(input_count_));
  copy(output_, zeros.data(), bytes_of(output_count_));
}

std::int64_t Buffers::count_wrong(ReduceOp op) const {
  std::int64_t wrong = 0;
  with_type(dtype_, [&](auto zero) {
    using T = decltype(zero);
    std::vector<T> values(static_cast<std::size_t>(output_count_));
    copy(values.data(), output_, bytes_of(output_count_));
    const double tolerance = dtype_ == DType::bf16 ? 1e-2 : 1e-3;
    for (std::int64_t i = 0; i < output_count_; ++i) {
      const double expected = expected_of(size(), i, op);
      const double actual = to_double(values[static_cast<std::size_t>(i)]);
      const double limit = is_floating_point(dtype_) ? tolerance * expected : 0.999;
      if (actual - expected > limit || expected - actual > limit) ++wrong;
    }
  });
  MPI_Allreduce(MPI_IN_PLACE, &wrong, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  return wrong;
}

}  // namespace ringleader::benchmarks
