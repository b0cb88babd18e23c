// SPDX-License-Identifier: Apache-2.0
//
// DefaultFloats: while one exists, the calling thread computes as IEEE 754 says, whatever the
// program has set: denormals are not flushed to zero (-Ofast, at::set_flush_denormal), results are
// rounded to nearest, and nothing traps. Otherwise results would depend on which thread computes
// them.
//
//   const DefaultFloats floats;        // costs a few cycles if nothing has to change
#pragma once

#if defined(__SSE__)
#include <xmmintrin.h>
#else
#include <cfenv>
#endif

namespace ringleader {

class DefaultFloats {
 public:
  DefaultFloats(const DefaultFloats&) = delete;
  DefaultFloats& operator=(const DefaultFloats&) = delete;

#if defined(__SSE__)
  DefaultFloats() : before_(_mm_getcsr()) {
    if ((before_ & kControl) != kDefault) _mm_setcsr(kDefault);
  }
  ~DefaultFloats() {
    if ((before_ & kControl) != kDefault) _mm_setcsr(before_);
  }

 private:
  static constexpr unsigned kControl = 0xffc0;  ///< all but the six sticky exception flags
  static constexpr unsigned kDefault = 0x1f80;
  unsigned before_;
#else
  DefaultFloats() {
    std::fegetenv(&before_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloats() { std::fesetenv(&before_); }

 private:
  std::fenv_t before_;
#endif
};

}  // namespace ringleader
