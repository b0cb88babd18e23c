// SPDX-License-Identifier: Apache-2.0
//
// Stands in for core/protocol/mutated.h in the protocol that mutation_test runs.
#pragma once

#include <ringleader/core/protocol/mutation.h>

namespace ringleader::protocol {

inline Mutation active_mutation = Mutation::none;

inline bool mutated(Mutation mutation) { return mutation == active_mutation; }

}  // namespace ringleader::protocol
