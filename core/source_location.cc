// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/source_location.h>

#include <string_view>

namespace ringleader {

std::string to_string(const SourceLocation& where) {
  if (where.line == 0) return "";
  std::string_view file = where.file;
  file.remove_prefix(file.rfind('/') + 1);  // npos + 1 is 0
  return std::string(file) + ":" + std::to_string(where.line);
}

}  // namespace ringleader
