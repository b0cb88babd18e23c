// SPDX-License-Identifier: Apache-2.0
#include "nccl_baseline.h"

#include <ringleader/collectives/mpi_transport/gather.h>
#include <ringleader/collectives/nccl/collective.h>
#include <ringleader/collectives/nccl/handles.h>
#include <ringleader/ringleader.h>

#include <mpi.h>

#include <memory>
#include <thread>
#include <utility>

namespace ringleader::benchmarks {
namespace {

struct Raw {
  nccl::Communicator communicator;
  nccl::Stream stream;
  Batch batch;
  nccl::Transfer transfer;
  bool enqueue = false;

  void run() const {
    throw_if_error(nccl::reduce(nccl::reduction_of(batch, transfer), transfer.input,
                                transfer.output, communicator, stream.get()));
    while (!communicator.state()) std::this_thread::yield();
    if (enqueue) return;
    throw_if_error(nccl::checked(cudaStreamSynchronize(stream.get()), "cudaStreamSynchronize"));
  }
};

}  // namespace

std::function<void()> nccl_allreduce(const Pieces& pieces, DType dtype, ReduceOp op, bool enqueue) {
  auto raw = std::make_shared<Raw>();
  auto group = std::make_shared<Group>();
  for (int i = 0; i < size(); ++i) group->ranks.push_back(i);
  group->rank = rank();
  raw->enqueue = enqueue;
  raw->batch.group = group;
  raw->batch.dtype = dtype;
  raw->batch.reduce_op = op;
  raw->batch.divisor = size();
  for (const auto& piece : pieces) {
    raw->batch.tensors.push_back({piece.input, piece.output, piece.count});
  }
  raw->transfer = nccl::transfer_of(raw->batch);
  if (raw->transfer.packs) return nullptr;
  nccl::NcclOptions options;
  options.gather = [](const Group&, const std::string& bytes) {
    return mpi_transport::gather(MPI_COMM_WORLD, bytes);
  };
  options.devices_may_be_shared = true;  // NCCL says what it thinks of that
  auto communicator = nccl::Communicator::open(*group, options, Status());
  throw_if_error(communicator.status());
  auto stream = nccl::Stream::create();
  throw_if_error(stream.status());
  raw->communicator = std::move(*communicator);
  raw->stream = std::move(*stream);
  return [raw] { raw->run(); };
}

}  // namespace ringleader::benchmarks
