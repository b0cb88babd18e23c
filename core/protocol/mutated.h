// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ringleader/core/protocol/mutation.h>

namespace ringleader::protocol {

constexpr bool mutated(Mutation) { return false; }

}  // namespace ringleader::protocol
