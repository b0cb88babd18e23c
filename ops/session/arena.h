// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ringleader/collectives/shm/segment.h>

#include <cstdint>
#include <memory>

namespace ringleader {

/// The one segment of this process, from which memory.h allocates; null if the system has none.
/// The first call makes it, with room for `bytes` (0: as much as there could be).
std::shared_ptr<shm::Segment> process_arena(std::int64_t bytes);

}  // namespace ringleader
