// SPDX-License-Identifier: Apache-2.0
#include "buffers.h"

#include <ringleader/ringleader.h>

#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

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

std::byte* take(Placement placement, std::size_t bytes) {
  if (placement == Placement::arena) return static_cast<std::byte*>(allocate(bytes));
  return static_cast<std::byte*>(
      ::operator new (std::max<std::size_t>(bytes, 1), std::align_val_t{64}));
}

void give_back(Placement placement, std::byte* memory) {
  if (placement == Placement::arena) return ringleader::free(memory);
  ::operator delete (memory, std::align_val_t{64});
}

}  // namespace

std::string name_of(Placement placement) {
  switch (placement) {
    case Placement::arena:
      return "arena";
    case Placement::inplace:
      return "inplace";
    default:
      return "outofplace";
  }
}

Buffers::Buffers(Placement placement, DType dtype, std::int64_t input_count,
                 std::int64_t output_count)
    : placement_(placement), dtype_(dtype), input_count_(input_count), output_count_(output_count) {
  const bool one = placement != Placement::outofplace;
  input_ = take(placement, bytes_of(one ? std::max(input_count, output_count) : input_count));
  output_ = one ? input_ : take(placement, bytes_of(output_count));
  clear();
}

Buffers::~Buffers() {
  if (output_ != input_) give_back(placement_, output_);
  give_back(placement_, input_);
}

std::size_t Buffers::bytes_of(std::int64_t count) const {
  return static_cast<std::size_t>(count) * size_of(dtype_);
}

void Buffers::fill(ReduceOp op) {
  with_type(dtype_, [&](auto zero) {
    using T = decltype(zero);
    T* values = reinterpret_cast<T*>(input_);
    for (std::int64_t i = 0; i < input_count_; ++i) {
      values[i] = static_cast<T>(static_cast<float>(element_of(rank(), i, op)));
    }
  });
}

void Buffers::clear() {
  std::memset(input_, 0, bytes_of(input_count_));
  std::memset(output_, 0, bytes_of(output_count_));
}

std::int64_t Buffers::count_wrong(ReduceOp op) const {
  std::int64_t wrong = 0;
  with_type(dtype_, [&](auto zero) {
    using T = decltype(zero);
    const T* values = reinterpret_cast<const T*>(output_);
    const double tolerance = dtype_ == DType::bf16 ? 1e-2 : 1e-3;
    for (std::int64_t i = 0; i < output_count_; ++i) {
      const double expected = expected_of(size(), i, op);
      const double actual = static_cast<double>(static_cast<float>(values[i]));
      const double limit = is_floating_point(dtype_) ? tolerance * expected : 0.999;
      if (actual - expected > limit || expected - actual > limit) ++wrong;
    }
  });
  MPI_Allreduce(MPI_IN_PLACE, &wrong, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  return wrong;
}

}  // namespace ringleader::benchmarks
