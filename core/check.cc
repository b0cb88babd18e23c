// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/check.h>

#include <cstdio>
#include <cstdlib>

namespace ringleader {

void check_failed(const char* file, int line, const char* condition,
                  const std::string& explanation) {
  std::fprintf(stderr, "ringleader: internal error at %s:%d: %s: %s\n", file, line, condition,
               explanation.c_str());
  std::abort();
}

}  // namespace ringleader
