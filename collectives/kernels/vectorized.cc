// SPDX-License-Identifier: Apache-2.0
//
// This file is compiled once per instruction set (Highway's foreach_target.h includes it again and
// again); the best that the processor has is chosen at the first call.
//
// The inner loop keeps four vectors of sums in registers: every element of every source is loaded
// once, and every element of every output stored once.
#include <ringleader/collectives/kernels/vectorized.h>

#include <bit>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE <vectorized.cc>
#include <hwy/foreach_target.h>
// After foreach_target.h, as Highway asks:
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <ringleader/collectives/kernels/element_memory-inl.h>

HWY_BEFORE_NAMESPACE();
namespace ringleader::kernels::vectorized {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

struct Sum {
  template <typename V>
  V operator()(V a, V b) const {
    return hn::Add(a, b);
  }
};
struct Product {
  template <typename V>
  V operator()(V a, V b) const {
    return hn::Mul(a, b);
  }
};
// As in reduce.cc, also where one is not a number: the first stays unless the second is better.
struct Min {
  template <typename V>
  V operator()(V a, V b) const {
    return hn::IfThenElse(hn::Lt(b, a), b, a);
  }
};
struct Max {
  template <typename V>
  V operator()(V a, V b) const {
    return hn::IfThenElse(hn::Lt(a, b), b, a);
  }
};

/// Everything about a reduction but the place in the data.
template <typename T>
struct Work {
  std::span<const void* const> sources;
  std::span<void* const> outs;
  typename Memory<T>::Lane before;  ///< factor of every input
  typename Memory<T>::Lane after;   ///< factor of every result
  bool scales_before;
  bool scales_after;
  bool streams;
};

template <typename T, typename D>
hn::Vec<D> load(D d, const Work<T>& work, std::size_t source, std::int64_t at) {
  const auto v = Memory<T>::load(d, static_cast<const T*>(work.sources[source]) + at);
  if constexpr (std::is_floating_point_v<typename Memory<T>::Lane>) {
    if (work.scales_before) return hn::Mul(v, hn::Set(d, work.before));
  }
  return v;
}

/// Neighbouring vectors, of as many elements as fit.
template <int kVectors, typename D>
struct Row {
  hn::Vec<D> a, b, c, e;  ///< b to e: only where kVectors is 4
};

template <int kVectors, typename T, typename D>
Row<kVectors, D> load_row(D d, const Work<T>& work, std::size_t source, std::int64_t at) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto a = load(d, work, source, at);
  if constexpr (kVectors == 1) return {a, a, a, a};
  return {a, load(d, work, source, at + lanes), load(d, work, source, at + 2 * lanes),
          load(d, work, source, at + 3 * lanes)};
}

template <typename Op, int kVectors, typename D>
Row<kVectors, D> combine(const Row<kVectors, D>& x, const Row<kVectors, D>& y) {
  const Op op;
  if constexpr (kVectors == 1) return {op(x.a, y.a), x.b, x.c, x.e};
  return {op(x.a, y.a), op(x.b, y.b), op(x.c, y.c), op(x.e, y.e)};
}

/// Sources [first, first + count) by the tree of reduce.h. Its depth is the logarithm of their
/// number; up to four stay in registers.
template <int kVectors, typename Op, typename T, typename D>
Row<kVectors, D> combine_sources(D d, const Work<T>& work, std::size_t first, std::size_t count,
                                 std::int64_t at) {
  const auto row = [&](std::size_t source) {
    return load_row<kVectors>(d, work, first + source, at);
  };
  if (count == 1) return row(0);
  const auto pair = combine<Op>(row(0), row(1));
  if (count == 2) return pair;
  if (count == 3) return combine<Op>(pair, row(2));
  if (count == 4) return combine<Op>(pair, combine<Op>(row(2), row(3)));
  const std::size_t half = std::bit_ceil(count) / 2;
  return combine<Op>(combine_sources<kVectors, Op>(d, work, first, half, at),
                     combine_sources<kVectors, Op>(d, work, first + half, count - half, at));
}

/// kVectors vectors from element `at` on.
template <int kVectors, typename Op, typename T, typename D>
void reduce_vectors(D d, const Work<T>& work, std::int64_t at) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto row = combine_sources<kVectors, Op>(d, work, 0, work.sources.size(), at);
  if constexpr (std::is_floating_point_v<typename Memory<T>::Lane>) {
    if (work.scales_after) {
      const auto factor = hn::Set(d, work.after);
      row = {hn::Mul(row.a, factor), hn::Mul(row.b, factor), hn::Mul(row.c, factor),
             hn::Mul(row.e, factor)};
    }
  }
  for (void* const out : work.outs) {
    T* to = static_cast<T*>(out) + at;
    if constexpr (kVectors == 4) {
      if (work.streams) {
        Memory<T>::stream(d, row.a, to);
        Memory<T>::stream(d, row.b, to + lanes);
        Memory<T>::stream(d, row.c, to + 2 * lanes);
        Memory<T>::stream(d, row.e, to + 3 * lanes);
        continue;
      }
      Memory<T>::store(d, row.b, to + lanes);
      Memory<T>::store(d, row.c, to + 2 * lanes);
      Memory<T>::store(d, row.e, to + 3 * lanes);
    }
    Memory<T>::store(d, row.a, to);
  }
}

/// Elements before every output is aligned for streaming; -1 if there is no such place.
template <typename T>
std::int64_t elements_to_alignment(std::span<void* const> outs, std::size_t vector_bytes) {
  const auto first = reinterpret_cast<std::uintptr_t>(outs[0]);
  for (void* const out : outs) {
    if ((reinterpret_cast<std::uintptr_t>(out) - first) % vector_bytes != 0) return -1;
  }
  const std::size_t bytes = (vector_bytes - first % vector_bytes) % vector_bytes;
  return bytes % sizeof(T) == 0 ? static_cast<std::int64_t>(bytes / sizeof(T)) : -1;
}

template <typename Op, typename T>
void reduce_all(Work<T> work, std::int64_t count) {
  using Lane = typename Memory<T>::Lane;
  const hn::ScalableTag<Lane> d;
  const hn::CappedTag<Lane, 1> one;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t at = 0;
  if (work.streams) {
    const std::int64_t head = sizeof(T) == sizeof(Lane)
                                  ? elements_to_alignment<T>(work.outs, hn::Lanes(d) * sizeof(Lane))
                                  : -1;
    work.streams = head >= 0 && head < count;
    for (; work.streams && at < head; ++at) reduce_vectors<1, Op>(one, work, at);
  }
  for (; at + 4 * lanes <= count; at += 4 * lanes) reduce_vectors<4, Op>(d, work, at);
  for (; at + lanes <= count; at += lanes) reduce_vectors<1, Op>(d, work, at);
  for (; at < count; ++at) reduce_vectors<1, Op>(one, work, at);
  if (work.streams) hwy::FlushStream();
}

template <typename T>
Work<T> work_of(const ReduceSpec& spec, std::span<const void* const> sources,
                std::span<void* const> outs, Stores stores) {
  using Lane = typename Memory<T>::Lane;
  const double divisor = spec.op == ReduceOp::average ? static_cast<double>(spec.divisor) : 1.0;
  const double after = spec.postscale / divisor;
  return {sources,
          outs,
          static_cast<Lane>(spec.prescale),
          static_cast<Lane>(after),
          spec.prescale != 1.0,
          after != 1.0,
          stores == Stores::streaming};
}

template <typename T>
bool reduce_as(const ReduceSpec& spec, std::span<const void* const> sources,
               std::span<void* const> outs, std::int64_t count, Stores stores) {
  const Work<T> work = work_of<T>(spec, sources, outs, stores);
  switch (spec.op) {
    case ReduceOp::sum:
    case ReduceOp::average:
      reduce_all<Sum>(work, count);
      return true;
    case ReduceOp::min:
      reduce_all<Min>(work, count);
      return true;
    case ReduceOp::max:
      reduce_all<Max>(work, count);
      return true;
    case ReduceOp::product:
      if constexpr (sizeof(T) == 2 || sizeof(T) == 4 || std::is_same_v<T, double>) {
        reduce_all<Product>(work, count);
        return true;
      }
  }
  return false;
}

bool reduce_here(const ReduceSpec& spec, std::span<const void* const> sources,
                 std::span<void* const> outs, std::int64_t count, Stores stores) {
  if (!is_floating_point(spec.dtype)) {
    if (spec.op == ReduceOp::average || spec.prescale != 1.0 || spec.postscale != 1.0) return false;
  }
#if HWY_ARCH_X86 && HWY_TARGET > HWY_AVX2
  if (spec.dtype == DType::f16) return false;  // no conversion instructions
#endif
  return with_type(spec.dtype, [&](auto element) {
    return reduce_as<decltype(element)>(spec, sources, outs, count, stores);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ringleader::kernels::vectorized
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ringleader::kernels::vectorized {

HWY_EXPORT(reduce_here);

bool reduce(const ReduceSpec& spec, std::span<const void* const> sources,
            std::span<void* const> outs, std::int64_t count, Stores stores) {
  return HWY_DYNAMIC_DISPATCH(reduce_here)(spec, sources, outs, count, stores);
}

}  // namespace ringleader::kernels::vectorized
#endif
