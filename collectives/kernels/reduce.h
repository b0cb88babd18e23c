// SPDX-License-Identifier: Apache-2.0
//
// Reductions in host memory, for every element type and reduction.
//
//   reduce(spec_of(batch), sources, out, count);    // out[i] = finish(op over sources[.][i])
//
// Arithmetic is done in a wider type and rounded once: 16-bit floats in f32, integers in i64
// (averages of i64 in 128 bits), f32 and f64 in their own type. Sources are combined in order by
// one binary tree, ((0 + 1) + (2 + 3)) + (4 + 5), which splits n sources into the first 2^k < n and
// the rest. So the result does not depend on how a buffer was cut into pieces; the rounding error
// grows with log n; and if each of 2^m ranks has already combined 2^l neighbouring values in this
// way, the result is that of 2^(m+l) ranks, bit for bit.
#pragma once

#include <ringleader/core/batch.h>
#include <ringleader/core/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ringleader::kernels {

struct ReduceSpec {
  DType dtype = DType::f32;
  ReduceOp op = ReduceOp::sum;
  double prescale = 1.0;
  double postscale = 1.0;
  std::int64_t divisor = 1;  ///< average only
};

ReduceSpec spec_of(const Batch& batch);

/// Whether results are written through the caches, or past them to memory that is not read again
/// soon. Streaming into memory that was just read costs more than it saves, so `stream_copies`
/// streams all outs except the first.
enum class Stores : std::uint8_t { cached, streaming, stream_copies };

/// Combines whole rows by that tree, then divides and postscales: outs[.][i] = (prescale *
/// sources[0][i] op prescale * sources[1][i] op ...). Every source and out holds `count` elements.
/// An out may be one of the sources; otherwise nothing may overlap. Every source is read once and
/// every out written once.
void reduce(const ReduceSpec& spec, std::span<const void* const> sources,
            std::span<void* const> outs, std::int64_t count, Stores stores = Stores::cached);

/// The same with one out.
inline void reduce(const ReduceSpec& spec, std::span<const void* const> sources, void* out,
                   std::int64_t count) {
  reduce(spec, sources, std::span<void* const>(&out, 1), count);
}

/// reduce() without vector instructions chosen for the processor; the reference in tests.
void reduce_plainly(const ReduceSpec& spec, std::span<const void* const> sources, void* out,
                    std::int64_t count);

/// accumulator[i] = accumulator[i] op source[i], in the element type itself.
void combine(DType dtype, ReduceOp op, void* accumulator, const void* source, std::int64_t count);

/// out[i] = prescale * source[i]; `out` may be `source`.
void prescale(const ReduceSpec& spec, const void* source, void* out, std::int64_t count);

/// Divides (average) and postscales in place.
void finish(const ReduceSpec& spec, void* data, std::int64_t count);

/// The type in which partial results lose nothing before the final rounding: f32 for 16-bit
/// floats, i64 for averages and scaled reductions of integers, else the type itself.
DType wide_type(const ReduceSpec& spec);

/// out[i] = source[i], converted. The types are equal, or one is the wide type of the other.
void convert(DType from, const void* source, DType to, void* out, std::int64_t count);

/// Copies bytes. `source` and `out` must not overlap.
void copy_bytes(const void* source, void* out, std::size_t bytes, Stores stores);

/// Fills with the neutral element: 0, 1, or the largest or lowest value.
void fill_neutral(void* data, std::int64_t count, DType dtype, ReduceOp op);

}  // namespace ringleader::kernels
