// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/parse.h>

#include <charconv>
#include <system_error>

namespace ringleader {

std::optional<std::int64_t> parse_count(std::string_view text) {
  if (text.empty()) return std::nullopt;
  std::int64_t unit = 1;
  if (const auto suffix = std::string_view("KMG").find(text.back()); suffix != text.npos) {
    unit = std::int64_t{1} << (10 * (suffix + 1));
    text.remove_suffix(1);
  }
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || value < 0 || value > INT64_MAX / unit) return std::nullopt;
  return value * unit;
}

}  // namespace ringleader
