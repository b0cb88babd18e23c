// SPDX-License-Identifier: Apache-2.0
//
// The accelerators of this build. One source file is compiled, chosen by CMake: accelerator_nccl.cc
// or accelerator_none.cc.
#pragma once

#include <ringleader/core/batch.h>
#include <ringleader/core/config.h>
#include <ringleader/core/gather.h>
#include <ringleader/core/status.h>
#include <ringleader/ops/session/world.h>

#include <vector>

namespace ringleader {

/// Adds the device and its backend to the world if all ranks have one. `nodes`: the node of every
/// rank. Collective over `everybody`.
Status add_accelerator(World& world, const Config& config, const Group& everybody,
                       const Gather& gather, const std::vector<int>& nodes);

}  // namespace ringleader
