// SPDX-License-Identifier: Apache-2.0
//
// From what the protocol decided and where the user's memory lies to the batch that a backend
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

/// Where batches get memory that the user has not given.
struct Memory {
  FillNeutral fill_neutral;            ///< in host memory
  std::shared_ptr<DevicePort> device;  ///< null without an accelerator
};

/// Memory aligned for any element type and for vector instructions; null if there is none.
std::shared_ptr<std::byte> allocate_bytes(std::size_t bytes);

/// A launched batch together with what keeps its memory alive.
struct PreparedBatch {
  std::uint64_t launch_id = 0;
  Batch batch;
  std::vector<std::shared_ptr<Operation>> operations;  ///< one per tensor; null for a joined rank
  std::vector<std::shared_ptr<std::byte>> scratch;

  /// allgather, alltoall and exchange: this rank's counts, sent to the others before the data, and
  /// what they sent. Empty otherwise.
  std::vector<std::int64_t> sizes_out;
  std::vector<std::int64_t> sizes_in;

  /// A result that is large: the members ask each other whether all have memory for it.
  bool may_refuse = false;
  std::int64_t bytes_lacking = 0;        ///< what this rank has no memory for
  std::vector<std::int64_t> consent_in;  ///< the same of all members

  /// Empty again, with its memory.
  void clear();
};

/// Builds the batch around `prepared.operations`, in what is otherwise empty. For allgather and
/// alltoall the blocks of the output are still unknown; they are filled in by complete_sizes().
/// Errors: `unsupported` for device memory without a device; those of the device.
Status prepare(const protocol::Launch& launch, std::shared_ptr<const Group> group,
               const Memory& memory, PreparedBatch& prepared);

/// True if the members must first tell each other how much they send.
bool needs_sizes(const PreparedBatch& prepared);

/// The collective that exchanges the sizes.
Batch sizes_batch(PreparedBatch& prepared);

/// Uses the exchanged sizes: sets the blocks and allocates the output.
Status complete_sizes(const Memory& memory, PreparedBatch& prepared);

/// True if the members must first tell each other whether they have memory for the result; once its
/// size is known.
bool needs_consent(const PreparedBatch& prepared);

/// The collective that does so, and what it says: no_memory, the same on all members, if one lacks.
Batch consent_batch(PreparedBatch& prepared);
Status consent(const PreparedBatch& prepared);

}  // namespace ringleader::runtime
