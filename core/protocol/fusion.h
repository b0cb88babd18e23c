// SPDX-License-Identifier: Apache-2.0
//
// Fusion: decides which of the operations that are ready on all members run as one collective.
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
/// type, device, reduction, divisor, scale factors, root, phase and absentees; tensors of other
/// verbs than allreduce and broadcast travel alone. A batch holds at most `fusion_bytes_max` bytes,
/// unless a single tensor is larger. Cost: O(tensors * open batches).
std::vector<LaunchEntry> fuse(const Catalog& catalog, const std::vector<ReadyOperation>& ready,
                              std::int64_t fusion_bytes_max);

/// The batches of a plan, as lists of parameters: sorted by phase and, within a phase, by `order`,
/// which holds each parameter once. Neighbours that fuse() would combine share a batch. A full
/// batch is closed, so no batch waits for a parameter far behind it. The result depends on nothing
/// else, so a program that announces in the same order gets the same batches in every run. Within a
/// batch, the parameter registered last comes first: a program that lays its parameters out in that
/// order has a batch of neighbours in one contiguous piece.
std::vector<std::vector<std::uint32_t>> cut_plan(const Request& plan,
                                                 std::vector<std::uint32_t> order,
                                                 std::int64_t fusion_bytes_max);

}  // namespace ringleader::protocol
