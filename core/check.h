// SPDX-License-Identifier: Apache-2.0
//
// RL_CHECK(condition, "values"): aborts on a bug in the library itself. It is never used for errors
// that a user, a peer or the environment can cause; those get a Status.
#pragma once

#include <string>

namespace ringleader {

/// Writes the failed condition and its explanation to stderr and aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const std::string& explanation);

}  // namespace ringleader

#define RL_CHECK(condition, explanation)                                         \
  do {                                                                           \
    if (!(condition)) {                                                          \
      ::ringleader::check_failed(__FILE__, __LINE__, #condition, (explanation)); \
    }                                                                            \
  } while (false)
