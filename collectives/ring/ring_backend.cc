// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/ring/ring_backend.h>

#include <ringleader/collectives/kernels/pieces.h>
#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/collectives/ring/algorithm.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace ringleader::ring {
namespace {

/// MPI guarantees tags up to 32767. So many batches of a channel are never in flight at once.
constexpr std::uint64_t kBatchesInFlightMax = 32768 / kTagsPerBatch;

/// A message's length is an int; segments stay well below.
constexpr std::int64_t kSegmentBytesMax = 1 << 30;

/// Which algorithm reduces a batch; a function of facts that are equal on all ranks.
bool sums_in_rank_order(const Batch& batch, bool deterministic) {
  // Partial sums in the element type would round 16-bit floats at every hop and overflow in
  // averages of integers.
  return deterministic || kernels::wide_type(kernels::spec_of(batch)) != batch.dtype;
}

std::unique_ptr<Algorithm> make_algorithm(const Context& context, bool deterministic) {
  switch (context.batch->op) {
    case Op::broadcast:
      return make_tree_broadcast(context);
    case Op::allgather:
    case Op::alltoall:
      return make_block_exchange(context);
    case Op::reduce_scatter:
      return make_share_exchange(context);
    default:
      return context.size() == 1 || sums_in_rank_order(*context.batch, deterministic)
                 ? make_share_exchange(context)
                 : make_ring_allreduce(context);
  }
}

struct Running {
  const Batch* batch = nullptr;
  std::unique_ptr<std::byte[]> staging;  ///< of a fused batch
  std::unique_ptr<Algorithm> algorithm;
};

class RingBackend : public Backend {
 public:
  RingBackend(std::shared_ptr<mpi_transport::ChannelCommunicators> communicators,
              const Config& config)
      : communicators_(std::move(communicators)),
        deterministic_(config.deterministic),
        segment_bytes_(std::clamp<std::int64_t>(config.segment_bytes, 1, kSegmentBytesMax)) {}

  std::string_view name() const override { return "ring"; }

  bool supports(const Batch& batch) const override { return batch.device == Device::host; }

  Status open_channel(const std::shared_ptr<const Group>& group) override {
    return communicators_->of(*group).status();
  }

  Result<Ticket> launch(const Batch& batch) override {
    const Result<MPI_Comm> comm = communicators_->of(*batch.group);
    if (!comm.ok()) return comm.status();
    const Ticket ticket = next_ticket_++;
    Running& running = running_[ticket];
    running.batch = &batch;
    Context context;
    context.batch = &batch;
    context.comm = *comm;
    context.tag = static_cast<int>(batch.sequence % kBatchesInFlightMax) * kTagsPerBatch;
    context.segment_bytes = segment_bytes_;
    if (batch.tensors.size() == 1) {
      context.input = static_cast<const std::byte*>(batch.tensors[0].input);
      context.output = static_cast<std::byte*>(batch.tensors[0].output);
    } else {
      running.staging = std::make_unique_for_overwrite<std::byte[]>(
          static_cast<std::size_t>(batch.count()) * size_of(batch.dtype));
      kernels::pack(batch, 0, batch.count(), running.staging.get());
      context.input = context.output = running.staging.get();
    }
    running.algorithm = make_algorithm(context, deterministic_);
    return ticket;
  }

  std::optional<Status> poll(Ticket ticket) override {
    const auto found = running_.find(ticket);
    Running& running = found->second;
    const std::int64_t before = running.algorithm->progress();
    std::optional<Status> outcome = running.algorithm->advance();
    if (running.algorithm->progress() != before) ++work_done_;
    if (!outcome) return std::nullopt;
    if (outcome->ok() && running.batch->tensors.size() > 1) {
      kernels::unpack(*running.batch, 0, running.batch->count(), running.staging.get());
    }
    running_.erase(found);
    return outcome;
  }

  std::uint64_t work_done() const override { return work_done_; }

  void close_channel(std::uint32_t channel) override { communicators_->close(channel); }

 private:
  std::shared_ptr<mpi_transport::ChannelCommunicators> communicators_;
  bool deterministic_;
  std::int64_t segment_bytes_;
  std::map<Ticket, Running> running_;
  Ticket next_ticket_ = 1;
  std::uint64_t work_done_ = 0;
};

}  // namespace

std::unique_ptr<Backend> make_ring_backend(
    std::shared_ptr<mpi_transport::ChannelCommunicators> communicators, const Config& config) {
  return std::make_unique<RingBackend>(std::move(communicators), config);
}

}  // namespace ringleader::ring
