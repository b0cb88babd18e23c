// SPDX-License-Identifier: Apache-2.0
//
// Copying one rank's parameters or bytes to all ranks.
#pragma once

#include <ringleader/core/source_location.h>
#include <ringleader/core/tensor.h>
#include <ringleader/ops/handle.h>
#include <ringleader/ops/process_set.h>
#include <ringleader/ops/slot.h>

#include <cstddef>
#include <string_view>
#include <vector>

namespace ringleader {

/// Waits until all operations have ended, because other ranks may use this rank's memory until
/// then. Then throws the first error.
void wait_for_all(const std::vector<Handle>& handles);

/// Overwrites every slot's parameter with the root's. Collective over the process set; the slots
/// must have equal names, shapes and types on all ranks. Blocks.
void broadcast_parameters(const std::vector<Slot>& slots, int root, ProcessSet process_set = {},
                          SourceLocation where = SourceLocation::current());

/// Returns the root's bytes on every rank. What the other ranks pass is ignored and may differ in
/// length. Collective over the process set. Blocks.
std::vector<std::byte> broadcast_object(std::string_view name, const std::vector<std::byte>& bytes,
                                        int root, ProcessSet process_set = {},
                                        SourceLocation where = SourceLocation::current());

}  // namespace ringleader
