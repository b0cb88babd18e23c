// SPDX-License-Identifier: Apache-2.0
//
// The reductions and copies that are worth vector instructions, which are chosen for the processor
// at run time. The rest of the library calls reduce.h, which falls back to plain loops.
#pragma once

#include <ringleader/collectives/kernels/reduce.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ringleader::kernels::vectorized {

/// reduce() for floating-point numbers in every variant (f16 where the processor converts it), and
/// for integers that are neither averaged nor scaled (products: 16 and 32 bits). Returns false, and
/// does nothing, for the rest.
bool reduce(const ReduceSpec& spec, std::span<const void* const> sources,
            std::span<void* const> outs, std::int64_t count, Stores stores);

/// Copies `bytes` bytes past the caches. `source` and `out` must not overlap.
void stream_copy(const void* source, void* out, std::size_t bytes);

}  // namespace ringleader::kernels::vectorized
