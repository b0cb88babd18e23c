// SPDX-License-Identifier: Apache-2.0
//
// Gloo's ring allreduce over TCP on this machine, where Gloo is installed.
#pragma once

#include "mpi_baseline.h"

#include <ringleader/core/types.h>

#include <functional>
#include <memory>

namespace ringleader::benchmarks {

/// Sums of f32 only. Null if this build is without Gloo. Collective.
std::function<void()> gloo_allreduce(const Pieces& pieces, DType dtype, ReduceOp op);

}  // namespace ringleader::benchmarks
