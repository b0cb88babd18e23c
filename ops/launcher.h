// SPDX-License-Identifier: Apache-2.0
//
// What the launcher of this process has said of it in the environment, compared with what MPI says:
// a program started by the launcher of another MPI is rank 0 of 1 in each of its processes.
#pragma once

#include <ringleader/core/config.h>
#include <ringleader/core/status.h>

namespace ringleader {

/// For a world of one. Errors: invalid_argument, naming the variable and what to do, if the
/// environment says that this very process is one of several and RINGLEADER_ALLOW_SINGLE is not
/// set. Warns if there is an allocation of several tasks in which this program was started alone.
Status check_alone(const Config& config);

}  // namespace ringleader
