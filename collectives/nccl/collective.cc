// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/nccl/collective.h>

#include <ringleader/core/check.h>

#include <functional>
#include <string>

namespace ringleader::nccl {
namespace {

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::u8:
      return ncclUint8;
    case DType::i8:
      return ncclInt8;
    case DType::i32:
      return ncclInt32;
    case DType::i64:
      return ncclInt64;
    case DType::f16:
      return ncclFloat16;
    case DType::bf16:
      return ncclBfloat16;
    case DType::f32:
      return ncclFloat32;
    case DType::f64:
      return ncclFloat64;
    case DType::i16:
      break;
  }
  RL_CHECK(false, "NCCL has no 16-bit integers; they travel as wider ones");
}

ncclRedOp_t op_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::min:
      return ncclMin;
    case ReduceOp::max:
      return ncclMax;
    case ReduceOp::product:
      return ncclProd;
    case ReduceOp::sum:
    case ReduceOp::average:
      break;
  }
  return ncclSum;  // averages are divided afterwards
}

/// An NCCL operation that sums inputs multiplied by a factor. Valid as long as this object lives.
class ScaledSum {
 public:
  ScaledSum(DType dtype, double factor, ncclComm_t communicator) : communicator_(communicator) {
    float narrow = static_cast<float>(factor);
    void* const scalar = dtype == DType::f64 ? static_cast<void*>(&factor) : &narrow;
    status_ = checked(ncclRedOpCreatePreMulSum(&op_, scalar, type_of(dtype),
                                               ncclScalarHostImmediate, communicator),
                      "ncclRedOpCreatePreMulSum", communicator);
  }
  ~ScaledSum() {
    // Enqueued work keeps what it needs.
    if (status_.ok()) static_cast<void>(ncclRedOpDestroy(op_, communicator_));
  }
  ScaledSum(const ScaledSum&) = delete;
  ScaledSum& operator=(const ScaledSum&) = delete;

  const Status& status() const { return status_; }
  ncclRedOp_t get() const { return op_; }

 private:
  ncclComm_t communicator_;
  ncclRedOp_t op_ = ncclSum;
  Status status_;
};

Status reduce_with(ncclRedOp_t op, const Reduction& reduction, const void* input, void* output,
                   ncclComm_t communicator, cudaStream_t stream) {
  const auto count = static_cast<std::size_t>(reduction.count);
  const ncclDataType_t type = type_of(reduction.type);
  if (reduction.op == Op::allreduce) {
    return checked(ncclAllReduce(input, output, count, type, op, communicator, stream),
                   "ncclAllReduce", communicator);
  }
  return checked(ncclReduceScatter(input, output, count, type, op, communicator, stream),
                 "ncclReduceScatter", communicator);
}

/// Makes several calls that NCCL runs as one.
Status grouped(ncclComm_t communicator, const std::function<Status()>& calls) {
  Status begun = checked(ncclGroupStart(), "ncclGroupStart", communicator);
  if (!begun.ok()) return begun;
  Status status = calls();
  Status ended = checked(ncclGroupEnd(), "ncclGroupEnd", communicator);
  return status.ok() ? ended : status;
}

/// Moves all tensors of the batch, as bytes.
struct Mover {
  const Batch& batch;
  ncclComm_t communicator;
  cudaStream_t stream;

  std::size_t bytes(std::int64_t count) const {
    return static_cast<std::size_t>(count) * size_of(batch.dtype);
  }
  const std::byte* input() const { return static_cast<const std::byte*>(batch.tensors[0].input); }
  std::byte* output() const { return static_cast<std::byte*>(batch.tensors[0].output); }

  Status broadcast(const void* from, void* to, std::int64_t count, int root) const {
    return checked(ncclBroadcast(from, to, bytes(count), ncclUint8, root, communicator, stream),
                   "ncclBroadcast", communicator);
  }

  Status broadcast_all() const {
    return grouped(communicator, [this] {
      for (const BatchTensor& tensor : batch.tensors) {
        Status status = broadcast(tensor.input, tensor.output, tensor.count, batch.root);
        if (!status.ok()) return status;
      }
      return Status();
    });
  }

  Status allgather() const {
    if (even(batch.block_counts)) {
      return checked(ncclAllGather(input(), output(), bytes(batch.tensors[0].count), ncclUint8,
                                   communicator, stream),
                     "ncclAllGather", communicator);
    }
    return grouped(communicator, [this] {
      std::byte* to = output();
      for (std::size_t rank = 0; rank < batch.block_counts.size(); ++rank) {
        const std::int64_t count = batch.block_counts[rank];
        Status status = broadcast(input(), to, count, static_cast<int>(rank));
        if (!status.ok()) return status;
        to += bytes(count);
      }
      return Status();
    });
  }

  Status alltoall() const {
    return grouped(communicator, [this] {
      const std::byte* from = input();
      std::byte* to = output();
      for (int rank = 0; rank < batch.group->size(); ++rank) {
        const auto i = static_cast<std::size_t>(rank);
        const std::size_t sent = bytes(batch.send_counts[i]);
        const std::size_t received = bytes(batch.block_counts[i]);
        Status status = checked(ncclSend(from, sent, ncclUint8, rank, communicator, stream),
                                "ncclSend", communicator);
        if (!status.ok()) return status;
        status = checked(ncclRecv(to, received, ncclUint8, rank, communicator, stream), "ncclRecv",
                         communicator);
        if (!status.ok()) return status;
        from += sent;
        to += received;
      }
      return Status();
    });
  }
};

}  // namespace

Reduction reduction_of(const Batch& batch, const Transfer& transfer) {
  const std::int64_t shares = batch.op == Op::reduce_scatter ? batch.group->size() : 1;
  return {batch.op, transfer.count / shares, transfer.wire, batch.reduce_op, transfer.factor};
}

Status reduce(const Reduction& reduction, const void* input, void* output,
              const Communicator& communicator, cudaStream_t stream) {
  if (reduction.factor == 1.0) {
    return reduce_with(op_of(reduction.reduce_op), reduction, input, output, communicator.get(),
                       stream);
  }
  const ScaledSum sum(reduction.type, reduction.factor, communicator.get());
  if (!sum.status().ok()) return sum.status();
  return reduce_with(sum.get(), reduction, input, output, communicator.get(), stream);
}

Status gather(const Reduction& reduction, const void* input, void* output,
              const Communicator& communicator, cudaStream_t stream) {
  return checked(ncclAllGather(input, output, static_cast<std::size_t>(reduction.count),
                               type_of(reduction.type), communicator.get(), stream),
                 "ncclAllGather", communicator.get());
}

Status move(const Batch& batch, const Communicator& communicator, cudaStream_t stream) {
  const Mover mover{batch, communicator.get(), stream};
  switch (batch.op) {
    case Op::broadcast:
      return mover.broadcast_all();
    case Op::allgather:
      return mover.allgather();
    case Op::alltoall:
    case Op::exchange:
      return mover.alltoall();
    default:
      return Status(Code::unsupported, std::string("NCCL has no ") + name_of(batch.op));
  }
}

}  // namespace ringleader::nccl
