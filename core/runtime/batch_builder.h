// SPDX-License-Identifier: Apache-2.0
//
// Turns what the protocol decided, and where the user's memory is, into the batch that a backend
// runs. Geometry only: no byte of a tensor is touched here.
#pragma once

#include <ringleader/core/batch.h>
#include <ringleader/core/protocol/node.h>
#include <ringleader/core/runtime/operation.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace ringleader::runtime {

/// Writes `count` neutral elements of a reduction: what a joined rank contributes.
using FillNeutral = std::function<void(void* data, std::int64_t count, DType dtype, ReduceOp op)>;

/// Where batches get memory that the user did not provide.
struct Memory {
  FillNeutral fill_neutral;            ///< in host memory
  std::shared_ptr<DevicePort> device;  ///< null without an accelerator
};

/// Memory aligned for any element type and for vector instructions; null if none is left.
std::shared_ptr<std::byte> allocate_bytes(std::size_t bytes);

/// A launched batch together with what keeps its memory alive.
struct PreparedBatch {
  std::uint64_t launch_id = 0;
  Batch batch;
  std::vector<std::shared_ptr<Operation>> operations;  ///< one per tensor; null for a joined rank
  std::vector<std::shared_ptr<std::byte>> scratch;

  /// allgather, alltoall and exchange: the counts that this rank sends to the others before the
  /// data, and the counts that they sent. Empty otherwise.
  std::vector<std::int64_t> sizes_out;
  std::vector<std::int64_t> sizes_in;

  /// The result is large: the members ask each other whether all have memory for it.
  bool may_refuse = false;
  std::int64_t bytes_lacking = 0;        ///< bytes that this rank has no memory for
  std::vector<std::int64_t> consent_in;  ///< the same of all members

  /// Empties the batch but keeps its memory.
  void clear();
};

/// Builds the batch around `prepared.operations`; everything else in `prepared` must be empty. For
/// allgather and alltoall the output blocks are still unknown; complete_sizes() fills them in.
/// Errors: `unsupported` for device memory without a device; those of the device.
Status prepare(const protocol::Launch& launch, std::shared_ptr<const Group> group,
               const Memory& memory, PreparedBatch& prepared);

/// True if the members must first tell each other how much they send.
bool needs_sizes(const PreparedBatch& prepared);

/// The collective that exchanges the sizes.
Batch sizes_batch(PreparedBatch& prepared);

/// Uses the exchanged sizes: sets the blocks and allocates the output.
Status complete_sizes(const Memory& memory, PreparedBatch& prepared);

/// True if the members must first tell each other whether they have memory for the result. Only
/// meaningful once the size of the result is known.
bool needs_consent(const PreparedBatch& prepared);

/// The collective that does so, and its verdict: no_memory, the same on all members, if one lacks
/// memory.
Batch consent_batch(PreparedBatch& prepared);
Status consent(const PreparedBatch& prepared);

}  // namespace ringleader::runtime
