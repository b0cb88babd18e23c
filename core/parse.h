// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ringleader {

/// Parses "17", optionally with a suffix K, M or G for powers of 1024; not negative.
std::optional<std::int64_t> parse_count(std::string_view text);

}  // namespace ringleader
