// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/mpi/mpi_backend.h>
#include <ringleader/collectives/mpi/running.h>
#include <ringleader/core/float_environment.h>
#include <ringleader/core/window.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

namespace ringleader::mpi {
namespace {

constexpr std::int64_t kCountMax = std::numeric_limits<int>::max();

std::int64_t total(const std::vector<std::int64_t>& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
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
        // MPI has no wider type than 64-bit integers in which their average would stay exact.
        if (batch.dtype == DType::i64 && batch.reduce_op == ReduceOp::average) return false;
        return batch.op == Op::allreduce || batch.count() <= kCountMax;
      case Op::broadcast:
      case Op::alltoall:
      case Op::exchange:
        return true;
    }
    return false;
  }

  Result<Ticket> launch(const Batch& batch) override {
    const Result<MPI_Comm> comm = communicators_->of(*batch.group);
    if (!comm.ok()) return comm.status();
    const DefaultFloats floats;  // MPI may reduce while it starts, and in poll()
    const Ticket ticket = running_.push(Running());
    Running& running = *running_.find(ticket);
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
    Running& running = *running_.find(ticket);
    int done = 0;
    const DefaultFloats floats;
    RL_MPI_RETURN_IF_ERROR(MPI_Test(&running.request, &done, MPI_STATUS_IGNORE));
    if (done == 0) return std::nullopt;
    RL_MPI_RETURN_IF_ERROR(MPI_Test(&running.sending, &done, MPI_STATUS_IGNORE));
    if (done == 0) return std::nullopt;
    complete(running);
    running.begin = running.end;
    if (running.begin < running.batch->count()) {
      if (const Status status = start(running); !status.ok()) return status;
      return std::nullopt;
    }
    running_.erase(ticket);
    return Status();
  }

  void close_channel(std::uint32_t channel) override { communicators_->close(channel); }

 private:
  std::shared_ptr<mpi_transport::ChannelCommunicators> communicators_;
  Window<Running> running_;  ///< by ticket
};

}  // namespace

std::unique_ptr<Backend> make_mpi_backend(
    std::shared_ptr<mpi_transport::ChannelCommunicators> communicators) {
  return std::make_unique<MpiBackend>(std::move(communicators));
}

}  // namespace ringleader::mpi
