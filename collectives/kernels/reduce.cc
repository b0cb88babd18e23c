// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/kernels/reduce.h>

#include <ringleader/collectives/kernels/pieces.h>
#include <ringleader/collectives/kernels/vectorized.h>
#include <ringleader/core/float_environment.h>
#include <ringleader/core/traffic.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <limits>
#include <type_traits>
#include <vector>

namespace ringleader::kernels {
namespace {

__extension__ using Int128 = __int128;

/// Elements accumulated at a time: 8 KiB of 64-bit accumulators stay in the L1 cache.
constexpr std::int64_t kBlock = 1024;

template <typename T>
constexpr bool is_half = std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>;

template <typename T>
struct WideOf {
  using type = std::conditional_t<is_half<T>, float,
                                  std::conditional_t<std::is_floating_point_v<T>, T, std::int64_t>>;
};
template <typename T>
using Wide = typename WideOf<T>::type;

/// Calls visit(f) with f(a, b) = a op b. Integer sums and products wrap around.
template <typename Acc, typename Visit>
void with_op(ReduceOp op, Visit visit) {
  switch (op) {
    case ReduceOp::sum:
    case ReduceOp::average:
      if constexpr (std::is_same_v<Acc, std::int64_t>) {
        return visit([](Acc a, Acc b) {
          return static_cast<Acc>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
        });
      } else {
        return visit([](Acc a, Acc b) { return a + b; });
      }
    case ReduceOp::min:
      // NaN stays, whichever rank has it: b != b is true only for NaN.
      return visit([](Acc a, Acc b) { return b < a || b != b ? b : a; });
    case ReduceOp::max:
      return visit([](Acc a, Acc b) { return a < b || b != b ? b : a; });
    case ReduceOp::product:
      if constexpr (std::is_same_v<Acc, std::int64_t>) {
        return visit([](Acc a, Acc b) {
          return static_cast<Acc>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
        });
      } else {
        return visit([](Acc a, Acc b) { return a * b; });
      }
  }
}

template <typename T, typename Acc>
void widen(const T* source, Acc* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<Acc>(source[i]);
}

template <typename Acc, typename T>
void narrow(const Acc* source, T* out, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<T>(source[i]);
}

/// Scaled integers that are out of range become the nearest value in range. Unscaled sums and
/// products of integers wrap around.
template <typename Acc, typename T>
void narrow_result(const ReduceSpec& spec, const Acc* source, T* out, std::int64_t count) {
  if constexpr (std::is_integral_v<T>) {
    if (spec.prescale != 1.0 || spec.postscale != 1.0) {
      constexpr Acc kLow = std::numeric_limits<T>::min();
      constexpr Acc kHigh = std::numeric_limits<T>::max();
      for (std::int64_t i = 0; i < count; ++i) {
        out[i] = static_cast<T>(std::clamp(source[i], kLow, kHigh));
      }
      return;
    }
  }
  narrow(source, out, count);
}

/// Integers are scaled in f64 and truncated toward zero. A result out of range becomes the nearest
/// value in range.
template <typename Acc>
Acc scaled(Acc value, double factor) {
  if constexpr (std::is_floating_point_v<Acc>) {
    return value * static_cast<Acc>(factor);
  } else {
    constexpr double kLimit = 9223372036854775808.0;  // 2^63
    const double exact = static_cast<double>(value) * factor;
    if (!(exact < kLimit)) return std::numeric_limits<std::int64_t>::max();
    if (exact < -kLimit) return std::numeric_limits<std::int64_t>::min();
    return static_cast<Acc>(static_cast<std::int64_t>(exact));
  }
}

template <typename Acc>
void scale_block(Acc* values, double factor, std::int64_t count) {
  if (factor == 1.0) return;
  for (std::int64_t i = 0; i < count; ++i) values[i] = scaled(values[i], factor);
}

template <typename Acc>
void finish_block(const ReduceSpec& spec, Acc* values, std::int64_t count) {
  const std::int64_t divisor = spec.op == ReduceOp::average ? spec.divisor : 1;
  if constexpr (std::is_floating_point_v<Acc>) {
    scale_block(values, spec.postscale / static_cast<double>(divisor), count);
  } else {
    if (divisor != 1) {
      for (std::int64_t i = 0; i < count; ++i) values[i] /= divisor;
    }
    scale_block(values, spec.postscale, count);
  }
}

/// Memory for `count` values, valid until this thread's next call. It is not on the stack because
/// the program's waiting threads work here too, and their stacks may be small.
template <typename Acc>
Acc* scratch(std::size_t count) {
  thread_local std::vector<std::max_align_t> memory;
  const std::size_t needed = count * sizeof(Acc) / sizeof(std::max_align_t) + 1;
  if (memory.size() < needed) memory.resize(needed);
  return reinterpret_cast<Acc*>(memory.data());
}

/// Combines elements [begin, begin + n) of all sources by the tree of reduce.h. The memory from
/// levels[kBlock] on is for the levels below.
template <typename T, typename Acc>
void combine_sources(const ReduceSpec& spec, std::span<const void* const> sources,
                     std::int64_t begin, std::int64_t n, Acc* levels) {
  Acc* const total = levels;
  if (sources.size() == 1) {
    widen(static_cast<const T*>(sources[0]) + begin, total, n);
    return scale_block(total, spec.prescale, n);
  }
  const std::size_t half = std::bit_ceil(sources.size()) / 2;
  Acc* const upper = levels + kBlock;
  combine_sources<T>(spec, sources.first(half), begin, n, total);
  combine_sources<T>(spec, sources.subspan(half), begin, n, upper);
  with_op<Acc>(spec.op, [&](auto op) {
    for (std::int64_t i = 0; i < n; ++i) total[i] = op(total[i], upper[i]);
  });
}

template <typename T, typename Acc>
void reduce_as(const ReduceSpec& spec, std::span<const void* const> sources, void* out,
               std::int64_t count) {
  const std::size_t levels = static_cast<std::size_t>(std::bit_width(sources.size())) + 1;
  Acc* const total = scratch<Acc>(levels * kBlock);
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const std::int64_t n = std::min(kBlock, count - begin);
    combine_sources<T>(spec, sources, begin, n, total);
    finish_block(spec, total, n);
    narrow_result(spec, total, static_cast<T*>(out) + begin, n);
  }
}

/// Runs block(values, n) over the data in the wide type of T.
template <typename T, typename Block>
void in_wide_blocks(const void* source, void* out, std::int64_t count, Block block) {
  Wide<T>* const values = scratch<Wide<T>>(kBlock);
  for (std::int64_t begin = 0; begin < count; begin += kBlock) {
    const std::int64_t n = std::min(kBlock, count - begin);
    widen(static_cast<const T*>(source) + begin, values, n);
    block(values, n);
    narrow(values, static_cast<T*>(out) + begin, n);
  }
}

template <typename T>
T neutral_of(ReduceOp op) {
  using Limits = std::numeric_limits<Wide<T>>;
  if constexpr (std::is_integral_v<T>) {
    if (op == ReduceOp::min) return std::numeric_limits<T>::max();
    if (op == ReduceOp::max) return std::numeric_limits<T>::min();
  } else {
    if (op == ReduceOp::min) return static_cast<T>(Limits::infinity());
    if (op == ReduceOp::max) return static_cast<T>(-Limits::infinity());
  }
  return static_cast<T>(static_cast<Wide<T>>(op == ReduceOp::product ? 1 : 0));
}

}  // namespace

ReduceSpec spec_of(const Batch& batch) {
  return {batch.dtype, batch.reduce_op, batch.prescale, batch.postscale, batch.divisor};
}

void reduce(const ReduceSpec& spec, std::span<const void* const> sources,
            std::span<void* const> outs, std::int64_t count, Stores stores) {
  if (count == 0) return;
  const DefaultFloats floats;
  const std::int64_t bytes = count * static_cast<std::int64_t>(size_of(spec.dtype));
  traffic_meter.reduced(bytes * std::ssize(sources), bytes * std::ssize(outs));
  if (vectorized::reduce(spec, sources, outs, count, stores)) return;
  reduce_plainly(spec, sources, outs[0], count);
  for (void* const out : outs.subspan(1)) {
    std::memcpy(out, outs[0], static_cast<std::size_t>(bytes));
  }
}

void reduce_plainly(const ReduceSpec& spec, std::span<const void* const> sources, void* out,
                    std::int64_t count) {
  const DefaultFloats floats;
  with_type(spec.dtype, [&](auto element) {
    using T = decltype(element);
    if constexpr (std::is_same_v<T, std::int64_t>) {
      const bool exact = spec.op == ReduceOp::average || spec.prescale != 1.0;
      if (exact && spec.op != ReduceOp::product) {
        return reduce_as<T, Int128>(spec, sources, out, count);
      }
    }
    reduce_as<T, Wide<T>>(spec, sources, out, count);
  });
}

void combine(DType dtype, ReduceOp op, void* accumulator, const void* source, std::int64_t count) {
  const DefaultFloats floats;
  const std::int64_t bytes = count * static_cast<std::int64_t>(size_of(dtype));
  traffic_meter.reduced(2 * bytes, bytes);
  with_type(dtype, [&](auto element) {
    using T = decltype(element);
    auto* a = static_cast<T*>(accumulator);
    const auto* b = static_cast<const T*>(source);
    with_op<Wide<T>>(op, [&](auto f) {
      for (std::int64_t i = 0; i < count; ++i) {
        a[i] = static_cast<T>(f(static_cast<Wide<T>>(a[i]), static_cast<Wide<T>>(b[i])));
      }
    });
  });
}

void prescale(const ReduceSpec& spec, const void* source, void* out, std::int64_t count) {
  const DefaultFloats floats;
  const std::int64_t bytes = count * static_cast<std::int64_t>(size_of(spec.dtype));
  traffic_meter.reduced(bytes, bytes);
  with_type(spec.dtype, [&](auto element) {
    in_wide_blocks<decltype(element)>(source, out, count, [&](auto* values, std::int64_t n) {
      scale_block(values, spec.prescale, n);
    });
  });
}

void finish(const ReduceSpec& spec, void* data, std::int64_t count) {
  const bool divides = spec.op == ReduceOp::average && spec.divisor != 1;
  if (spec.postscale == 1.0 && !divides) return;
  const DefaultFloats floats;
  const std::int64_t bytes = count * static_cast<std::int64_t>(size_of(spec.dtype));
  traffic_meter.reduced(bytes, bytes);
  with_type(spec.dtype, [&](auto element) {
    in_wide_blocks<decltype(element)>(
        data, data, count, [&](auto* values, std::int64_t n) { finish_block(spec, values, n); });
  });
}

DType wide_type(const ReduceSpec& spec) {
  if (spec.dtype == DType::f16 || spec.dtype == DType::bf16) return DType::f32;
  const bool plain = spec.op != ReduceOp::average && spec.prescale == 1.0 && spec.postscale == 1.0;
  return plain || is_floating_point(spec.dtype) ? spec.dtype : DType::i64;
}

void convert(DType from, const void* source, DType to, void* out, std::int64_t count) {
  if (count == 0) return;  // there may be no memory at all then
  if (from == to) {
    std::memmove(out, source, static_cast<std::size_t>(count) * size_of(from));
    return;
  }
  const DefaultFloats floats;
  const bool widens = size_of(to) > size_of(from);
  with_type(widens ? from : to, [&](auto element) {
    using T = decltype(element);
    if (widens) {
      widen(static_cast<const T*>(source), static_cast<Wide<T>*>(out), count);
    } else {
      narrow(static_cast<const Wide<T>*>(source), static_cast<T*>(out), count);
    }
  });
}

void copy_bytes(const void* source, void* out, std::size_t bytes, Stores stores) {
  if (bytes == 0) return;  // there may be no memory at all then
  traffic_meter.copied(static_cast<std::int64_t>(bytes));
  if (stores != Stores::cached) return vectorized::stream_copy(source, out, bytes);
  std::memcpy(out, source, bytes);
}

void fill_neutral(void* data, std::int64_t count, DType dtype, ReduceOp op) {
  with_type(dtype, [&](auto element) {
    using T = decltype(element);
    std::fill_n(static_cast<T*>(data), count, neutral_of<T>(op));
  });
}

}  // namespace ringleader::kernels
