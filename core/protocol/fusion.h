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

/// The batches of a plan, as lists of parameters: by phase, and in a phase by `order`, in which
/// each parameter occurs once. Neighbours that fuse() would put together share a batch; one that is
/// full is closed, so that no batch waits for a parameter far behind it. Depends on nothing else,
/// so a program that announces in the same order has the same batches in every run.
/// In a batch the last parameter of the registration comes first: whoever lays them out so has a
/// batch of neighbours in one piece.
std::vector<std::vector<std::uint32_t>> cut_plan(const Request& plan,
                                                 std::vector<std::uint32_t> order,
                                                 std::int64_t fusion_bytes_max);

}  // namespace ringleader::protocol
