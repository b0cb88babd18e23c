// SPDX-License-Identifier: Apache-2.0
//
// Programs that link count_allocations.cc count what all their threads allocate by `new`.
#pragma once

#include <cstdint>

namespace ringleader::test {

/// So far. Always 0 with a sanitizer, which needs its own `new`.
std::uint64_t allocations();

}  // namespace ringleader::test
