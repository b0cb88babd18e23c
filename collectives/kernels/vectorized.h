// SPDX-License-Identifier: Apache-2.0
//
// The reductions and copies that are worth vector instructions, chosen at run time for the
// processor. reduce.h is what the rest of the library calls; it falls back to plain loops.
#pragma once

#include <ringleader/collectives/kernels/reduce.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ringleader::kernels::vectorized {

/// reduce() for floating-point numbers in every variant, and for integers that are neither averaged
/// nor scaled (products: 16 and 32 bits). False, and nothing done, for the rest.
bool reduce(const ReduceSpec& spec, std::span<const void* const> sources,
            std::span<void* const> outs, std::int64_t count, Stores stores);

/// Copies `bytes` bytes past the caches; the memories do not overlap.
void stream_copy(const void* source, void* out, std::size_t bytes);

}  // namespace ringleader::kernels::vectorized
