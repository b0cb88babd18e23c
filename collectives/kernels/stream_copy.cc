// SPDX-License-Identifier: Apache-2.0
//
// Compiled once per instruction set, like vectorized.cc.
#include <ringleader/collectives/kernels/vectorized.h>

#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE <stream_copy.cc>
#include <hwy/foreach_target.h>
// After foreach_target.h, as Highway requires:
#include <hwy/cache_control.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace ringleader::kernels::vectorized {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

void stream_copy_here(const void* source, void* out, std::size_t bytes) {
  const hn::ScalableTag<std::uint8_t> d;
  const std::size_t lanes = hn::Lanes(d);
  const auto* from = static_cast<const std::uint8_t*>(source);
  auto* to = static_cast<std::uint8_t*>(out);
  std::size_t at = (lanes - reinterpret_cast<std::uintptr_t>(to) % lanes) % lanes;
  at = at < bytes ? at : bytes;
  std::memcpy(to, from, at);
  for (; at + 4 * lanes <= bytes; at += 4 * lanes) {
    const auto a = hn::LoadU(d, from + at);
    const auto b = hn::LoadU(d, from + at + lanes);
    const auto c = hn::LoadU(d, from + at + 2 * lanes);
    const auto e = hn::LoadU(d, from + at + 3 * lanes);
    hn::Stream(a, d, to + at);
    hn::Stream(b, d, to + at + lanes);
    hn::Stream(c, d, to + at + 2 * lanes);
    hn::Stream(e, d, to + at + 3 * lanes);
  }
  std::memcpy(to + at, from + at, bytes - at);
  hwy::FlushStream();
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace ringleader::kernels::vectorized
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ringleader::kernels::vectorized {

HWY_EXPORT(stream_copy_here);

void stream_copy(const void* source, void* out, std::size_t bytes) {
  HWY_DYNAMIC_DISPATCH(stream_copy_here)(source, out, bytes);
}

}  // namespace ringleader::kernels::vectorized
#endif
