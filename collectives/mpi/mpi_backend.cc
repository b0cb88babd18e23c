// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/mpi/mpi_backend.h>

#include <ringleader/collectives/kernels/pieces.h>
#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/collectives/mpi/datatypes.h>

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <utility>
#include <vector>

namespace ringleader::mpi {
namespace {

constexpr std::int64_t kCountMax = std::numeric_limits<int>::max();

/// Elements of one call of allreduce and broadcast: bounds the work of one poll where elements are
/// converted, and fits an int.
constexpr std::int64_t kStagedPiece = 1 << 20;
constexpr std::int64_t kDirectPiece = 1 << 30;

struct Running {
  const Batch* batch = nullptr;
  MPI_Comm comm = MPI_COMM_NULL;
  kernels::ReduceSpec wide;  ///< the reduction in the type in which MPI carries it out
  bool staged = false;       ///< elements go through `staging`, in the wide type
  std::vector<std::byte> staging;
  std::vector<std::byte> result;  ///< reduce_scatter: this rank's block, in the wide type
  std::int64_t begin = 0;         ///< the piece in flight
  std::int64_t end = 0;
  MPI_Request request = MPI_REQUEST_NULL;

  // What MPI reads until the request completes.
  std::vector<int> counts;
  std::vector<int> displacements;
  std::vector<BlockType> block_types;
  std::vector<MPI_Datatype> send_types;
  std::vector<MPI_Datatype> receive_types;
};

std::int64_t total(const std::vector<std::int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

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
  RL_MPI_RETURN_IF_ERROR(MPI_Iallreduce(send, receive, count, type, op_of(batch.reduce_op),
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
  RL_MPI_RETURN_IF_ERROR(MPI_Ireduce_scatter(
      running.staging.data(), running.result.data(), running.counts.data(),
      datatype_of(running.wide.dtype), op_of(batch.reduce_op), running.comm, &running.request));
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

/// The block's place is part of its type, so that no int limits it.
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
    default:
      return start_allreduce(running);
  }
}

void complete(Running& running) {
  switch (running.batch->op) {
    case Op::broadcast:
      return complete_broadcast(running);
    case Op::reduce_scatter:
      return complete_reduce_scatter(running);
    case Op::allgather:
    case Op::alltoall:
      return;
    default:
      return complete_allreduce(running);
  }
}

class MpiBackend : public Backend {
 public:
  explicit MpiBackend(std::shared_ptr<mpi_transport::ChannelCommunicators> communicators)
      : communicators_(std::move(communicators)) {}

  std::string_view name() const override { return "mpi"; }

  bool supports(const Batch& batch) const override {
    if (batch.device != Device::host) return false;
    switch (batch.op) {
      case Op::allgather:
        return total(batch.block_counts) <= kCountMax;
      case Op::reduce_scatter:
      case Op::allreduce:
        // A sum of 64-bit integers has no wider type in MPI that would keep an average exact.
        if (batch.dtype == DType::i64 && batch.reduce_op == ReduceOp::average) return false;
        return batch.op == Op::allreduce || batch.count() <= kCountMax;
      default:
        return true;
    }
  }

  Result<Ticket> launch(const Batch& batch) override {
    const Result<MPI_Comm> comm = communicators_->of(*batch.group);
    if (!comm.ok()) return comm.status();
    const Ticket ticket = next_ticket_++;
    Running& running = running_[ticket];
    running.batch = &batch;
    running.comm = *comm;
    running.wide = kernels::spec_of(batch);
    const bool reduces = batch.op == Op::allreduce || batch.op == Op::reduce_scatter;
    if (reduces) running.wide.dtype = kernels::wide_type(running.wide);
    running.staged = batch.tensors.size() > 1 ||
                     (reduces && (running.wide.dtype != batch.dtype || batch.prescale != 1.0));
    if (running.staged && batch.op != Op::reduce_scatter) {
      running.staging.resize(static_cast<std::size_t>(std::min(batch.count(), kStagedPiece)) *
                             size_of(running.wide.dtype));
    }
    if (const Status status = start(running); !status.ok()) return status;
    return ticket;
  }

  std::optional<Status> poll(Ticket ticket) override {
    const auto found = running_.find(ticket);
    Running& running = found->second;
    int done = 0;
    RL_MPI_RETURN_IF_ERROR(MPI_Test(&running.request, &done, MPI_STATUS_IGNORE));
    if (done == 0) return std::nullopt;
    complete(running);
    running.begin = running.end;
    if (running.begin < running.batch->count()) {
      if (const Status status = start(running); !status.ok()) return status;
      return std::nullopt;
    }
    running_.erase(found);
    return Status();
  }

  void close_channel(std::uint32_t channel) override { communicators_->close(channel); }

 private:
  std::shared_ptr<mpi_transport::ChannelCommunicators> communicators_;
  std::map<Ticket, Running> running_;
  Ticket next_ticket_ = 1;
};

}  // namespace

std::unique_ptr<Backend> make_mpi_backend(
    std::shared_ptr<mpi_transport::ChannelCommunicators> communicators) {
  return std::make_unique<MpiBackend>(std::move(communicators));
}

}  // namespace ringleader::mpi
