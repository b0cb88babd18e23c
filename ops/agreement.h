// SPDX-License-Identifier: Apache-2.0
//
// Settings that must be the same on all ranks, because each rank derives from them what it sends
// and expects. They come from the environment of each process, so they are compared at the start.
#pragma once

#include <ringleader/core/config.h>
#include <ringleader/core/status.h>

#include <string>
#include <vector>

namespace ringleader {

/// The settings of this rank, to be shown to the others.
std::string common_settings(const Config& config);

/// What differs, by the variable that sets it and the ranks; `all` has common_settings() of every
/// rank.
Status compare_settings(const std::vector<std::string>& all);

}  // namespace ringleader
