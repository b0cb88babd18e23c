// SPDX-License-Identifier: Apache-2.0
//
// The NCCL calls for a batch, by verb.
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
  double factor = 1.0;  ///< multiplies every input; for sums and averages only
};
Reduction reduction_of(const Batch& batch, const Transfer& transfer);

/// Enqueues a reduction and does not block; the communicator's state() says when it is enqueued.
/// `input` and `output` may be the same, or one may be this rank's own block of the other.
Status reduce(const Reduction& reduction, const void* input, void* output,
              const Communicator& communicator, cudaStream_t stream);

/// Allgathers what each member reduced: `reduction.count` elements each, one after another.
Status gather(const Reduction& reduction, const void* input, void* output,
              const Communicator& communicator, cudaStream_t stream);

/// allgather, broadcast, alltoall, exchange: moves bytes as they are.
Status move(const Batch& batch, const Communicator& communicator, cudaStream_t stream);

}  // namespace ringleader::nccl
