// SPDX-License-Identifier: Apache-2.0
//
// Treats a batch of several tensors as one sequence of elements, without copying it.
#pragma once

#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/core/batch.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace ringleader::kernels {

/// Calls visit(tensor, offset, count) for each piece of elements [begin, end) of the sequence that
/// the batch's tensors form. A piece is `count` elements of tensor number `tensor` from `offset`
/// on.
template <typename Visit>
void for_each_piece(const Batch& batch, std::int64_t begin, std::int64_t end, Visit visit) {
  std::int64_t first = 0;
  for (std::size_t t = 0; t < batch.tensors.size() && first < end; ++t) {
    const std::int64_t last = first + batch.tensors[t].count;
    const std::int64_t from = std::max(begin, first);
    const std::int64_t to = std::min(end, last);
    if (from < to) visit(t, from - first, to - from);
    first = last;
  }
}

/// The address of element `index` of an array of `dtype`.
inline const std::byte* at(const void* data, std::int64_t index, DType dtype) {
  return static_cast<const std::byte*>(data) + index * static_cast<std::int64_t>(size_of(dtype));
}
inline std::byte* at(void* data, std::int64_t index, DType dtype) {
  return static_cast<std::byte*>(data) + index * static_cast<std::int64_t>(size_of(dtype));
}

/// Copies `count` elements. `source` and `out` must not overlap unless they are the same; then
/// nothing is copied.
void copy_elements(const void* source, void* out, std::int64_t count, DType dtype);

/// Copies `count` input elements of a reduction, multiplied by its prescale factor.
void load(const ReduceSpec& spec, const std::byte* source, std::byte* out, std::int64_t count);

/// pack() copies elements [begin, end) of the sequence of inputs to `out`; unpack() copies them
/// from `in` to the outputs.
void pack(const Batch& batch, std::int64_t begin, std::int64_t end, void* out,
          Stores stores = Stores::cached);
void unpack(const Batch& batch, std::int64_t begin, std::int64_t end, const void* in);

}  // namespace ringleader::kernels
