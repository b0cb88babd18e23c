// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ringleader/core/trace.h>

namespace ringleader::nccl {

/// Shows ranges in NVIDIA's profilers, in a domain "ringleader"; null if NVTX was not available at
/// compile time.
const Tracer* nvtx_tracer();

}  // namespace ringleader::nccl
