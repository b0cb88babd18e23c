// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ringleader/core/batch.h>
#include <ringleader/core/result.h>

#include <functional>
#include <string>
#include <vector>

namespace ringleader {

/// An allgather of bytes: every member of a group gets the bytes of all members, in group order.
/// It carries what members must know about each other before they have a channel. Blocks;
/// collective.
using Gather = std::function<Result<std::vector<std::string>>(const Group&, const std::string&)>;

}  // namespace ringleader
