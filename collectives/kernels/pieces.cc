// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/kernels/pieces.h>

#include <ringleader/core/traffic.h>

#include <cstring>

namespace ringleader::kernels {

void copy_elements(const void* source, void* out, std::int64_t count, DType dtype) {
  if (source == out || count == 0) return;
  const std::size_t bytes = static_cast<std::size_t>(count) * size_of(dtype);
  traffic_meter.copied(static_cast<std::int64_t>(bytes));
  std::memcpy(out, source, bytes);
}

void load(const ReduceSpec& spec, const std::byte* source, std::byte* out, std::int64_t count) {
  if (spec.prescale != 1.0) {
    prescale(spec, source, out, count);
  } else {
    copy_elements(source, out, count, spec.dtype);
  }
}

void pack(const Batch& batch, std::int64_t begin, std::int64_t end, void* out, Stores stores) {
  std::int64_t filled = 0;
  for_each_piece(batch, begin, end, [&](std::size_t t, std::int64_t offset, std::int64_t count) {
    const std::byte* const from = at(batch.tensors[t].input, offset, batch.dtype);
    std::byte* const to = at(out, filled, batch.dtype);
    if (from != to) {
      copy_bytes(from, to, static_cast<std::size_t>(count) * size_of(batch.dtype), stores);
    }
    filled += count;
  });
}

void unpack(const Batch& batch, std::int64_t begin, std::int64_t end, const void* in) {
  std::int64_t used = 0;
  for_each_piece(batch, begin, end, [&](std::size_t t, std::int64_t offset, std::int64_t count) {
    copy_elements(at(in, used, batch.dtype), at(batch.tensors[t].output, offset, batch.dtype),
                  count, batch.dtype);
    used += count;
  });
}

}  // namespace ringleader::kernels
