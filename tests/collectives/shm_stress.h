// SPDX-License-Identifier: Apache-2.0
//
// Random batches, many at once, with tensors in shared or in ordinary memory as each rank throws
// its dice, all results checked.
#pragma once

#include "../support/watchdog.h"

#include <ringleader/collectives/shm/segment.h>
#include <ringleader/core/batch.h>
#include <ringleader/core/runtime/backend.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ringleader::test {

/// Runs `rounds` rounds on every rank of the group, in step; returns what was wrong.
std::vector<std::string> stress(Backend& backend, shm::Segment& segment,
                                const std::shared_ptr<const Group>& group, int rounds,
                                Watchdog& watchdog);

}  // namespace ringleader::test
