// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

namespace ringleader {

/// The number of single-character edits between two words (Levenshtein 1966). Takes time
/// proportional to the product of their lengths, and memory proportional to the length of `b`.
std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace ringleader
