// SPDX-License-Identifier: Apache-2.0
//
// Loads elements of every type into vectors of the compute type, and stores them back. 16-bit
// floats are computed in f32. Included once per instruction set, by vectorized.cc.
#include <ringleader/core/half.h>

#include <hwy/highway.h>

#if defined(RINGLEADER_ELEMENT_MEMORY) == defined(HWY_TARGET_TOGGLE)
#ifdef RINGLEADER_ELEMENT_MEMORY
#undef RINGLEADER_ELEMENT_MEMORY
#else
#define RINGLEADER_ELEMENT_MEMORY
#endif

HWY_BEFORE_NAMESPACE();
namespace ringleader::kernels::vectorized {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// Elements that are computed in their own type.
template <typename T>
struct Memory {
  using Lane = T;
  template <typename D>
  static hn::Vec<D> load(D d, const T* from) {
    return hn::LoadU(d, from);
  }
  template <typename D>
  static void store(D d, hn::Vec<D> v, T* to) {
    hn::StoreU(v, d, to);
  }
  template <typename D>
  static void stream(D d, hn::Vec<D> v, T* to) {
    hn::Stream(v, d, to);
  }
};

template <>
struct Memory<BFloat16> {
  using Lane = float;
  template <typename D>
  static hn::Vec<D> load(D d, const BFloat16* from) {
    const hn::Rebind<std::uint16_t, D> narrow;
    const hn::RebindToUnsigned<D> wide;
    const auto bits = hn::LoadU(narrow, reinterpret_cast<const std::uint16_t*>(from));
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(wide, bits)));
  }
  /// Rounds to nearest, ties to even, as BFloat16 does.
  template <typename D>
  static void store([[maybe_unused]] D d, hn::Vec<D> v, BFloat16* to) {
    const hn::Rebind<std::uint16_t, D> narrow;
    const hn::RebindToUnsigned<D> wide;
    const hn::RebindToSigned<D> as_signed;
    const auto bits = hn::BitCast(wide, v);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(wide, 1));
    const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(wide, 0x7fff))));
    const auto quiet = hn::Or(hn::ShiftRight<16>(bits), hn::Set(wide, 0x40));
    const auto chosen = hn::IfThenElse(hn::RebindMask(wide, hn::IsNaN(v)), quiet, rounded);
    const auto half = hn::DemoteTo(narrow, hn::BitCast(as_signed, chosen));
    hn::StoreU(half, narrow, reinterpret_cast<std::uint16_t*>(to));
  }
  template <typename D>
  static void stream(D d, hn::Vec<D> v, BFloat16* to) {
    store(d, v, to);
  }
};

template <>
struct Memory<Float16> {
  using Lane = float;
  template <typename D>
  static hn::Vec<D> load([[maybe_unused]] D d, const Float16* from) {
    const hn::Rebind<hwy::float16_t, D> half;
    return hn::PromoteTo(d, hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(from)));
  }
  template <typename D>
  static void store([[maybe_unused]] D d, hn::Vec<D> v, Float16* to) {
    const hn::Rebind<hwy::float16_t, D> half;
    hn::StoreU(hn::DemoteTo(half, v), half, reinterpret_cast<hwy::float16_t*>(to));
  }
  template <typename D>
  static void stream(D d, hn::Vec<D> v, Float16* to) {
    store(d, v, to);
  }
};

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ringleader::kernels::vectorized
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
