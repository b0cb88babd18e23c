// SPDX-License-Identifier: Apache-2.0
//
// The speed of light of an allreduce inside a node: the same processes load and store the same
// bytes of the same buffers as a direct reduction does, with no synchronization.
#pragma once

#include "mpi_baseline.h"

#include <ringleader/core/types.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

namespace ringleader::benchmarks {

/// Reduces this rank's share of the pieces, which all ranks hold in their arenas, for all ranks.
/// Null if the ranks share no memory, or a piece is not in the arena. Collective.
std::function<void()> speed_of_light(const Pieces& pieces, DType dtype, ReduceOp op);

}  // namespace ringleader::benchmarks
