// SPDX-License-Identifier: Apache-2.0
//
// This file is compiled once per instruction set (Highway's foreach_target.h includes it
// repeatedly). The first call chooses the best one that the processor has.
//
// With up to four sources, four vectors of sums stay in registers: every element of every source is
// loaded once, and every element of every output stored once. More sources are reduced block by
// block.
#include <ringleader/collectives/kernels/vectorized.h>

#include <algorithm>
#include <bit>
#include <new>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE <vectorized.cc>
#include <hwy/foreach_target.h>
// After foreach_target.h, as Highway requires:
#include <hwy/aligned_allocator.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <ringleader/collectives/kernels/combine-inl.h>

HWY_BEFORE_NAMESPACE();
namespace ringleader::kernels::vectorized {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// Reduces the rows of kVectors vectors (1 or 4) of [at, count). Returns where they end.
template <std::size_t kSources, int kVectors, typename Op, typename T, typename D>
std::int64_t reduce_rows(D d, const Work<T>& work, std::int64_t at, std::int64_t count) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (; at + kVectors * lanes <= count; at += kVectors * lanes) {
    auto v0 = combine<kSources, Op>(d, work, 0, at);
    auto v1 = v0, v2 = v0, v3 = v0;
    if constexpr (kVectors == 4) {
      v1 = combine<kSources, Op>(d, work, 0, at + lanes);
      v2 = combine<kSources, Op>(d, work, 0, at + 2 * lanes);
      v3 = combine<kSources, Op>(d, work, 0, at + 3 * lanes);
    }
    if constexpr (std::is_floating_point_v<typename Memory<T>::Lane>) {
      if (work.scales_after) {
        const auto factor = hn::Set(d, work.after);
        v0 = hn::Mul(v0, factor);
        v1 = hn::Mul(v1, factor);
        v2 = hn::Mul(v2, factor);
        v3 = hn::Mul(v3, factor);
      }
    }
    for (std::size_t o = 0; o < work.outs.size(); ++o) {
      T* to = static_cast<T*>(work.outs[o]) + at;
      if constexpr (kVectors == 1) {
        Memory<T>::store(d, v0, to);
      } else if (o >= work.streams_from) {
        Memory<T>::stream(d, v0, to);
        Memory<T>::stream(d, v1, to + lanes);
        Memory<T>::stream(d, v2, to + 2 * lanes);
        Memory<T>::stream(d, v3, to + 3 * lanes);
      } else {
        Memory<T>::store(d, v0, to);
        Memory<T>::store(d, v1, to + lanes);
        Memory<T>::store(d, v2, to + 2 * lanes);
        Memory<T>::store(d, v3, to + 3 * lanes);
      }
    }
  }
  return at;
}

/// Reduces [at, count) of few sources, which is nearly always the case.
template <std::size_t kSources, typename Op, typename T>
void reduce_few(const Work<T>& work, std::int64_t at, std::int64_t count) {
  const hn::ScalableTag<typename Memory<T>::Lane> d;
  const hn::CappedTag<typename Memory<T>::Lane, 4> few;  // most of what small tensors leave
  const hn::CappedTag<typename Memory<T>::Lane, 1> one;
  at = reduce_rows<kSources, 4, Op>(d, work, at, count);
  at = reduce_rows<kSources, 1, Op>(d, work, at, count);
  at = reduce_rows<kSources, 1, Op>(few, work, at, count);
  reduce_rows<kSources, 1, Op>(one, work, at, count);
}

/// Partial sums for each level of the tree, valid until this thread's next call. They are not on
/// the stack because the program's waiting threads work here too, and their stacks may be small.
template <typename T>
Partials<T>* partials(std::size_t sources) {
  thread_local hwy::AlignedFreeUniquePtr<Partials<T>[]> levels;
  thread_local std::size_t room = 0;
  const auto needed = static_cast<std::size_t>(std::bit_width(sources)) + 1;
  if (needed > room) {
    levels = hwy::AllocateAligned<Partials<T>>(needed);
    if (levels == nullptr) throw std::bad_alloc();
    room = needed;
  }
  return levels.get();
}

/// Reduces the whole vectors of [at, count). Returns where they end.
template <typename Op, typename T, typename D>
std::int64_t reduce_blocks(D d, const Work<T>& work, std::int64_t at, std::int64_t count) {
  Partials<T>* const levels = partials<T>(work.sources.size());
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  while (at + lanes <= count) {
    const auto size = std::min<std::int64_t>(std::size(levels[0]), (count - at) / lanes * lanes);
    combine_block<Op>(d, work, 0, work.sources.size(), at, size, levels);
    if (work.scales_after) scale<T>(d, levels[0], work.after, size);
    for (std::size_t o = 0; o < work.outs.size(); ++o) {
      T* to = static_cast<T*>(work.outs[o]) + at;
      const bool streams = o >= work.streams_from && lanes > 1;
      for (std::int64_t i = 0; streams && i < size; i += lanes) {
        Memory<T>::stream(d, hn::Load(d, levels[0] + i), to + i);
      }
      for (std::int64_t i = 0; !streams && i < size; i += lanes) {
        Memory<T>::store(d, hn::Load(d, levels[0] + i), to + i);
      }
    }
    at += size;
  }
  return at;
}

/// Number of elements before every output is aligned for streaming; -1 if there is no such place.
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
  std::int64_t at = 0;
  const auto streamed = work.outs.subspan(std::min(work.streams_from, work.outs.size()));
  if (!streamed.empty()) {
    const std::int64_t head = sizeof(T) == sizeof(Lane)
                                  ? elements_to_alignment<T>(streamed, hn::Lanes(d) * sizeof(Lane))
                                  : -1;
    if (head >= 0 && head < count) {
      at = reduce_blocks<Op>(one, work, 0, head);
    } else {
      work.streams_from = work.outs.size();
    }
  }
  switch (work.scales_before ? 0 : work.sources.size()) {
    case 1:
      reduce_few<1, Op>(work, at, count);
      break;
    case 2:
      reduce_few<2, Op>(work, at, count);
      break;
    case 3:
      reduce_few<3, Op>(work, at, count);
      break;
    case 4:
      reduce_few<4, Op>(work, at, count);
      break;
    default:
      at = reduce_blocks<Op>(d, work, at, count);
      reduce_blocks<Op>(one, work, at, count);
  }
  if (work.streams_from < work.outs.size()) hwy::FlushStream();
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
          stores == Stores::cached ? outs.size() : (stores == Stores::streaming ? 0 : 1)};
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
