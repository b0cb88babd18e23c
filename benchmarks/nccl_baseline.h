// SPDX-License-Identifier: Apache-2.0
//
// Raw NCCL on this process's GPU, where this build has it.
#pragma once

#include "mpi_baseline.h"

#include <ringleader/core/types.h>

#include <functional>

namespace ringleader::benchmarks {

/// ncclAllReduce of device memory, and waiting for its stream unless it is only enqueued. Null if
/// this build is without NCCL, or NCCL without the type or the operation. Collective.
std::function<void()> nccl_allreduce(const Pieces& pieces, DType dtype, ReduceOp op, bool enqueue);

}  // namespace ringleader::benchmarks
