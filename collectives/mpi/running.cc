// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/kernels/pieces.h>
#include <ringleader/collectives/mpi/running.h>
#include <ringleader/core/check.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace ringleader::mpi {
namespace {

/// Elements of one piece that MPI reads and writes in place; fits an int.
constexpr std::int64_t kDirectPiece = 1 << 30;

/// Batches of a channel are launched in one order, so one tag serves all.
constexpr int kExchangeTag = 1;

/// Elements [begin, end) of the inputs in the wide type, prescaled.
void load(const Running& running, std::int64_t begin, std::int64_t end, std::byte* out) {
  const Batch& batch = *running.batch;
  std::int64_t filled = 0;
  kernels::for_each_piece(
      batch, begin, end, [&](std::size_t t, std::int64_t offset, std::int64_t count) {
        kernels::convert(batch.dtype, kernels::at(batch.tensors[t].input, offset, batch.dtype),
                         running.wide.dtype, kernels::at(out, filled, running.wide.dtype), count);
        filled += count;
      });
  if (batch.prescale != 1.0) kernels::prescale(running.wide, out, out, end - begin);
}

/// The reverse for results, which are divided and postscaled first.
void store(const Running& running, std::int64_t begin, std::int64_t end, std::byte* in) {
  const Batch& batch = *running.batch;
  if (batch.op == Op::allreduce) kernels::finish(running.wide, in, end - begin);
  std::int64_t used = 0;
  kernels::for_each_piece(
      batch, begin, end, [&](std::size_t t, std::int64_t offset, std::int64_t count) {
        kernels::convert(running.wide.dtype, kernels::at(in, used, running.wide.dtype), batch.dtype,
                         kernels::at(batch.tensors[t].output, offset, batch.dtype), count);
        used += count;
      });
}

Status start_allreduce(Running& running) {
  const Batch& batch = *running.batch;
  const std::int64_t piece = running.staged ? kStagedPiece : kDirectPiece;
  running.end = std::min(running.begin + piece, batch.count());
  const int count = static_cast<int>(running.end - running.begin);
  const MPI_Datatype type = datatype_of(running.wide.dtype);
  const void* send = MPI_IN_PLACE;
  void* receive = running.staging.data();
  if (running.staged) {
    load(running, running.begin, running.end, running.staging.data());
  } else {
    const BatchTensor& tensor = batch.tensors[0];
    receive = kernels::at(tensor.output, running.begin, batch.dtype);
    if (tensor.input != tensor.output) send = kernels::at(tensor.input, running.begin, batch.dtype);
  }
  RL_MPI_RETURN_IF_ERROR(MPI_Iallreduce(send, receive, count, type,
                                        op_keeping_nan(batch.reduce_op, running.wide.dtype),
                                        running.comm, &running.request));
  return Status();
}

void complete_allreduce(Running& running) {
  const Batch& batch = *running.batch;
  if (running.staged) {
    store(running, running.begin, running.end, running.staging.data());
  } else {
    kernels::finish(running.wide, kernels::at(batch.tensors[0].output, running.begin, batch.dtype),
                    running.end - running.begin);
  }
}

Status start_broadcast(Running& running) {
  const Batch& batch = *running.batch;
  running.end =
      std::min(running.begin + (running.staged ? kStagedPiece : kDirectPiece), batch.count());
  void* buffer = running.staging.data();
  const bool is_root = batch.group->rank == batch.root;
  if (!running.staged) {
    // MPI does not write to the root's buffer.
    void* source = is_root ? const_cast<void*>(batch.tensors[0].input) : batch.tensors[0].output;
    buffer = kernels::at(source, running.begin, batch.dtype);
  } else if (is_root) {
    load(running, running.begin, running.end, running.staging.data());
  }
  RL_MPI_RETURN_IF_ERROR(MPI_Ibcast(buffer, static_cast<int>(running.end - running.begin),
                                    datatype_of(batch.dtype), batch.root, running.comm,
                                    &running.request));
  return Status();
}

void complete_broadcast(Running& running) {
  const Batch& batch = *running.batch;
  if (running.staged) {
    store(running, running.begin, running.end, running.staging.data());
  } else if (batch.group->rank == batch.root) {
    kernels::copy_elements(kernels::at(batch.tensors[0].input, running.begin, batch.dtype),
                           kernels::at(batch.tensors[0].output, running.begin, batch.dtype),
                           running.end - running.begin, batch.dtype);
  }
}

Status start_reduce_scatter(Running& running) {
  const Batch& batch = *running.batch;
  running.end = batch.count();
  running.counts.assign(batch.block_counts.begin(), batch.block_counts.end());
  const auto own =
      static_cast<std::size_t>(batch.block_counts[static_cast<std::size_t>(batch.group->rank)]);
  running.staging.resize(static_cast<std::size_t>(batch.count()) * size_of(running.wide.dtype));
  running.result.resize(own * size_of(running.wide.dtype));
  load(running, 0, batch.count(), running.staging.data());
  RL_MPI_RETURN_IF_ERROR(MPI_Ireduce_scatter(running.staging.data(), running.result.data(),
                                             running.counts.data(), datatype_of(running.wide.dtype),
                                             op_keeping_nan(batch.reduce_op, running.wide.dtype),
                                             running.comm, &running.request));
  return Status();
}

void complete_reduce_scatter(Running& running) {
  const Batch& batch = *running.batch;
  const std::int64_t own = batch.block_counts[static_cast<std::size_t>(batch.group->rank)];
  kernels::finish(running.wide, running.result.data(), own);
  kernels::convert(running.wide.dtype, running.result.data(), batch.dtype, batch.tensors[0].output,
                   own);
}

Status start_allgather(Running& running) {
  const Batch& batch = *running.batch;
  running.end = batch.count();
  std::int64_t offset = 0;
  for (const std::int64_t block : batch.block_counts) {
    running.counts.push_back(static_cast<int>(block));
    running.displacements.push_back(static_cast<int>(offset));
    offset += block;
  }
  const BatchTensor& tensor = batch.tensors[0];
  const auto rank = static_cast<std::size_t>(batch.group->rank);
  const bool in_place =
      tensor.input == kernels::at(tensor.output, running.displacements[rank], batch.dtype);
  RL_MPI_RETURN_IF_ERROR(MPI_Iallgatherv(
      in_place ? MPI_IN_PLACE : tensor.input, running.counts[rank], datatype_of(batch.dtype),
      tensor.output, running.counts.data(), running.displacements.data(), datatype_of(batch.dtype),
      running.comm, &running.request));
  return Status();
}

Status make_types(Running& running, const std::vector<std::int64_t>& blocks,
                  std::vector<MPI_Datatype>& types) {
  std::int64_t offset = 0;
  for (const std::int64_t block : blocks) {
    Result<BlockType> type = BlockType::make(running.batch->dtype, offset, block);
    if (!type.ok()) return type.status();
    types.push_back(type->get());
    running.block_types.push_back(std::move(*type));
    offset += block;
  }
  return Status();
}

/// The block's offset is part of its type, so it is not limited to an int.
Status start_alltoall(Running& running) {
  const Batch& batch = *running.batch;
  running.end = batch.count();
  if (const Status s = make_types(running, batch.send_counts, running.send_types); !s.ok()) {
    return s;
  }
  if (const Status s = make_types(running, batch.block_counts, running.receive_types); !s.ok()) {
    return s;
  }
  running.counts.assign(batch.block_counts.size(), 1);
  running.displacements.assign(batch.block_counts.size(), 0);
  RL_MPI_RETURN_IF_ERROR(MPI_Ialltoallw(
      batch.tensors[0].input, running.counts.data(), running.displacements.data(),
      running.send_types.data(), batch.tensors[0].output, running.counts.data(),
      running.displacements.data(), running.receive_types.data(), running.comm, &running.request));
  return Status();
}

/// At most one message each way. A block may have more elements than an int can count, so its type
/// covers the whole block.
Status start_exchange(Running& running) {
  const Batch& batch = *running.batch;
  running.end = batch.count();
  const auto peer_of = [](const std::vector<std::int64_t>& counts) {
    const auto found = std::find_if(counts.begin(), counts.end(), [](auto n) { return n > 0; });
    return found == counts.end() ? MPI_PROC_NULL : static_cast<int>(found - counts.begin());
  };
  const auto type_of = [&](const std::vector<std::int64_t>& counts) {
    return BlockType::make(batch.dtype, 0,
                           std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  };
  for (const auto* const counts : {&batch.block_counts, &batch.send_counts}) {
    Result<BlockType> type = type_of(*counts);
    if (!type.ok()) return type.status();
    running.block_types.push_back(std::move(*type));
  }
  const int from = peer_of(batch.block_counts);
  RL_MPI_RETURN_IF_ERROR(MPI_Irecv(batch.tensors[0].output, from == MPI_PROC_NULL ? 0 : 1,
                                   running.block_types[0].get(), from, kExchangeTag, running.comm,
                                   &running.request));
  const int to = peer_of(batch.send_counts);
  RL_MPI_RETURN_IF_ERROR(MPI_Isend(batch.tensors[0].input, to == MPI_PROC_NULL ? 0 : 1,
                                   running.block_types[1].get(), to, kExchangeTag, running.comm,
                                   &running.sending));
  return Status();
}

}  // namespace

Status start(Running& running) {
  switch (running.batch->op) {
    case Op::broadcast:
      return start_broadcast(running);
    case Op::reduce_scatter:
      return start_reduce_scatter(running);
    case Op::allgather:
      return start_allgather(running);
    case Op::alltoall:
      return start_alltoall(running);
    case Op::exchange:
      return start_exchange(running);
    case Op::allreduce:
      return start_allreduce(running);
  }
  RL_CHECK(false, "a batch of what moves no tensors");
}

void complete(Running& running) {
  switch (running.batch->op) {
    case Op::broadcast:
      return complete_broadcast(running);
    case Op::reduce_scatter:
      return complete_reduce_scatter(running);
    case Op::allreduce:
      return complete_allreduce(running);
    case Op::allgather:
    case Op::alltoall:
    case Op::exchange:
      return;
  }
}

}  // namespace ringleader::mpi
