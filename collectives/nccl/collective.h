// SPDX-License-Identifier: Apache-2.0
//
// The calls of NCCL for a batch, by verb.
#pragma once

#include <ringleader/collectives/nccl/communicator.h>
#include <ringleader/collectives/nccl/transfer.h>
#include <ringleader/core/batch.h>
#include <ringleader/core/status.h>

namespace ringleader::nccl {

/// Reduces `input` into `output`, which may be the same; where the batch is packed both are its
/// buffer. Enqueues, does not block; the communicator's state() says when it has.
Status reduce(const Batch& batch, const Transfer& transfer, const void* input, void* output,
              const Communicator& communicator, cudaStream_t stream);

/// allgather, broadcast, alltoall: bytes as they are.
Status move(const Batch& batch, const Communicator& communicator, cudaStream_t stream);

}  // namespace ringleader::nccl
