// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ringleader/core/batch.h>
#include <ringleader/core/result.h>

#include <functional>
#include <string>
#include <vector>

namespace ringleader {

/// Gives every member of a group the bytes of all members, in group order: what they need to know
/// of each other before they have a channel. Blocks; collective.
using Gather = std::function<Result<std::vector<std::string>>(const Group&, const std::string&)>;

}  // namespace ringleader
