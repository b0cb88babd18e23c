// SPDX-License-Identifier: Apache-2.0
//
// Combines one vector of each source into a single vector, by the tree of reduce.h. Included once
// per instruction set, by vectorized.cc.
#include <ringleader/collectives/kernels/element_memory-inl.h>

#include <hwy/highway.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#if defined(RINGLEADER_COMBINE) == defined(HWY_TARGET_TOGGLE)
#ifdef RINGLEADER_COMBINE
#undef RINGLEADER_COMBINE
#else
#define RINGLEADER_COMBINE
#endif

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
/// As in reduce.cc: keeps the first unless the second is better or NaN.
template <typename V>
HWY_INLINE V second_if(hn::Mask<hn::DFromV<V>> better, V a, V b) {
  if constexpr (std::is_floating_point_v<hn::TFromV<V>>) {
    better = hn::Or(better, hn::IsNaN(b));  // Ne(b, b) is false for NaN with AVX-512
  }
  return hn::IfThenElse(better, b, a);
}
struct Min {
  template <typename V>
  V operator()(V a, V b) const {
    return second_if(hn::Lt(b, a), a, b);
  }
};
struct Max {
  template <typename V>
  V operator()(V a, V b) const {
    return second_if(hn::Lt(a, b), a, b);
  }
};

/// Everything about a reduction except the position in the data.
template <typename T>
struct Work {
  std::span<const void* const> sources;
  std::span<void* const> outs;
  typename Memory<T>::Lane before;  ///< factor of every input
  typename Memory<T>::Lane after;   ///< factor of every result
  bool scales_before;
  bool scales_after;
  std::size_t streams_from;  ///< the outs from this index on are written past the caches
};

/// One vector of the kCount sources from `first` on, combined by the tree of reduce.h.
template <std::size_t kCount, typename Op, typename T, typename D>
HWY_INLINE hn::Vec<D> combine(D d, const Work<T>& work, std::size_t first, std::int64_t at) {
  if constexpr (kCount == 1) {
    return Memory<T>::load(d, static_cast<const T*>(work.sources[first]) + at);
  } else {
    constexpr std::size_t kHalf = std::bit_ceil(kCount) / 2;
    const auto lower = combine<kHalf, Op>(d, work, first, at);
    return Op()(lower, combine<kCount - kHalf, Op>(d, work, first + kHalf, at));
  }
}

// For any number of sources, and for scaled inputs: partial sums of a block, one level of the tree
// after another, in memory that stays in the L1 cache.
constexpr std::size_t kBlockBytes = 1024;

template <typename T>
using Partials = typename Memory<T>::Lane[kBlockBytes / sizeof(typename Memory<T>::Lane)];

template <std::size_t kCount, typename Op, typename T, typename D>
void combine_leaf(D d, const Work<T>& work, std::size_t first, std::int64_t at, std::int64_t size,
                  Partials<T>& to) {
  for (std::int64_t i = 0; i < size; i += static_cast<std::int64_t>(hn::Lanes(d))) {
    hn::Store(combine<kCount, Op>(d, work, first, at + i), d, to + i);
  }
}

template <typename T, typename D>
void scale(D d, Partials<T>& partials, typename Memory<T>::Lane factor, std::int64_t size) {
  if constexpr (std::is_floating_point_v<typename Memory<T>::Lane>) {
    for (std::int64_t i = 0; i < size; i += static_cast<std::int64_t>(hn::Lanes(d))) {
      hn::Store(hn::Mul(hn::Load(d, partials + i), hn::Set(d, factor)), d, partials + i);
    }
  }
}

/// levels[0] = elements [at, at + size) of the sources from `first` on, combined. The levels after
/// it are scratch.
template <typename Op, typename T, typename D>
void combine_block(D d, const Work<T>& work, std::size_t first, std::size_t count, std::int64_t at,
                   std::int64_t size, Partials<T>* levels) {
  if (count == 1) {
    combine_leaf<1, Op>(d, work, first, at, size, levels[0]);
    if (work.scales_before) scale<T>(d, levels[0], work.before, size);
    return;
  }
  if (count == 4 && !work.scales_before) {
    return combine_leaf<4, Op>(d, work, first, at, size, levels[0]);
  }
  const std::size_t half = std::bit_ceil(count) / 2;
  combine_block<Op>(d, work, first, half, at, size, levels);
  combine_block<Op>(d, work, first + half, count - half, at, size, levels + 1);
  for (std::int64_t i = 0; i < size; i += static_cast<std::int64_t>(hn::Lanes(d))) {
    hn::Store(Op()(hn::Load(d, levels[0] + i), hn::Load(d, levels[1] + i)), d, levels[0] + i);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ringleader::kernels::vectorized
HWY_AFTER_NAMESPACE();

#endif
