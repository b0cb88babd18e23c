// SPDX-License-Identifier: Apache-2.0
//
// SourceLocation: where the program called the library, for errors and reports. A function takes it
// as its last argument:
//
//   void barrier(ProcessSet process_set = {}, SourceLocation where = SourceLocation::current());
//
// std::source_location would do, but these headers must also compile as C++17.
#pragma once

#include <string>

namespace ringleader {

/// A place in the program's source: the file and line of a call.
struct SourceLocation {
  const char* file = "";  ///< lives as long as the program
  int line = 0;           ///< 0: unknown

  /// The location of the call that uses this as a default argument.
  static constexpr SourceLocation current(const char* file = __builtin_FILE(),
                                          int line = __builtin_LINE()) {
    return {file, line};
  }
};

/// "train.cc:42", without the folders; empty if unknown.
std::string to_string(const SourceLocation& where);

}  // namespace ringleader
