// SPDX-License-Identifier: Apache-2.0
//
// Fusion: which of the operations that are ready everywhere run as one collective.
#pragma once

#include <ringleader/core/protocol/catalog.h>
#include <ringleader/core/protocol/message.h>

#include <cstdint>
#include <vector>

namespace ringleader::protocol {

/// An operation that is ready on every member.
struct ReadyOperation {
  std::uint32_t id = 0;
  std::int32_t absent = 0;  ///< members that have joined instead of submitting it
};

/// Packs ready operations into batches, in the order in which each batch's first tensor became
/// ready. Tensors share a batch if they belong to one channel and agree in operation, element
/// type, device, reduction, scale factors, root and absentees; allgather, reduce_scatter and
/// alltoall tensors travel alone. A batch holds at most `fusion_bytes_max` bytes, unless a single
/// tensor is larger. Cost: O(tensors * open batches).
std::vector<LaunchEntry> fuse(const Catalog& catalog, const std::vector<ReadyOperation>& ready,
                              std::int64_t fusion_bytes_max);

}  // namespace ringleader::protocol
