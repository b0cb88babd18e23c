// SPDX-License-Identifier: Apache-2.0
//
// Compares what the launcher says about this process in the environment with what MPI says: a
// program started by the launcher of another MPI is rank 0 of 1 in each of its processes.
#pragma once

#include <ringleader/core/config.h>
#include <ringleader/core/status.h>

#include <string>

namespace ringleader {

/// What applies if the world turns out to be a single process.
struct AloneVerdict {
  /// invalid_argument, naming the variable and what to do, if the environment says that this very
  /// process is one of several and RINGLEADER_ALLOW_SINGLE is not set.
  Status refusal;
  /// Not empty: this program was started alone in an allocation of several tasks.
  std::string warning;
};

/// Call this before MPI starts, because MPI may change the environment.
AloneVerdict judge_alone(const Config& config);

}  // namespace ringleader
