// SPDX-License-Identifier: Apache-2.0
//
// The calls of NCCL for a batch, by verb.
#pragma once

#include <ringleader/collectives/nccl/communicator.h>
#include <ringleader/collectives/nccl/transfer.h>
#include <ringleader/core/batch.h>
#include <ringleader/core/status.h>

namespace ringleader::nccl {

/// A reduction over all members of a communicator.
struct Reduction {
  Op op = Op::allreduce;   ///< or reduce_scatter
  std::int64_t count = 0;  ///< elements of the result
  DType type = DType::f32;
  ReduceOp reduce_op = ReduceOp::sum;
  double factor = 1.0;  ///< of every input; of sums and averages only
};
Reduction reduction_of(const Batch& batch, const Transfer& transfer);

/// Enqueues, does not block; the communicator's state() says when it has. `input` and `output` may
/// be the same, or the one the own block of the other.
Status reduce(const Reduction& reduction, const void* input, void* output,
              const Communicator& communicator, cudaStream_t stream);

/// What each member reduced, `reduction.count` elements, one behind the other.
Status gather(const Reduction& reduction, const void* input, void* output,
              const Communicator& communicator, cudaStream_t stream);

/// allgather, broadcast, alltoall: bytes as they are.
Status move(const Batch& batch, const Communicator& communicator, cudaStream_t stream);

}  // namespace ringleader::nccl
