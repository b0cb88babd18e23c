// SPDX-License-Identifier: Apache-2.0
//
// DefaultFloats: while it lives, the calling thread computes with floats as IEEE 754 says, whatever
// the program has set: denormals are not flushed to zero (-Ofast, at::set_flush_denormal), results
// are rounded to nearest, and nothing traps. Results would otherwise depend on which thread
// computes them.
//
//   const DefaultFloats floats;        // costs a few cycles where nothing is to be changed
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
  static constexpr unsigned kControl = 0xffc0;  ///< all but the six flags of exceptions that were
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
