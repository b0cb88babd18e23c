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

std::unique_ptr<Algorithm> make_allreduce(const Context& context, selection::Algorithm algorithm) {
  switch (algorithm) {
    case selection::Algorithm::everybody:
      return make_everybody(context);
    case selection::Algorithm::halving_doubling:
      return make_halving_doubling(context);
    case selection::Algorithm::ring:
      return make_ring_allreduce(context);
    default:
      return make_share_exchange(context);
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
              RingOptions options)
      : communicators_(std::move(communicators)), options_(std::move(options)) {
    options_.segment_bytes = std::clamp<std::int64_t>(options_.segment_bytes, 1, kSegmentBytesMax);
  }

  std::string_view name() const override { return "ring"; }

  bool supports(const Batch& batch) const override {
    return batch.device == Device::host && is_collective(batch.op);
  }

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
    context.segment_bytes = options_.segment_bytes;
    if (batch.tensors.size() == 1) {
      context.input = static_cast<const std::byte*>(batch.tensors[0].input);
      context.output = static_cast<std::byte*>(batch.tensors[0].output);
    } else {
      running.staging = std::make_unique_for_overwrite<std::byte[]>(
          static_cast<std::size_t>(batch.count()) * size_of(batch.dtype));
      kernels::pack(batch, 0, batch.count(), running.staging.get());
      context.input = context.output = running.staging.get();
    }
    running.algorithm = make_algorithm(context);
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
  std::unique_ptr<Algorithm> make_algorithm(const Context& context) const {
    switch (context.batch->op) {
      case Op::broadcast:
        return make_tree_broadcast(context);
      case Op::allgather:
      case Op::alltoall:
      case Op::exchange:
        return make_block_exchange(context);
      case Op::reduce_scatter:
        return make_share_exchange(context);
      case Op::allreduce:
        return make_allreduce(context, algorithm_for(*context.batch));
      case Op::barrier:
      case Op::join:
      case Op::add_process_set:
      case Op::remove_process_set:
      case Op::register_plan:
      case Op::release_plan:
        break;
    }
    RL_CHECK(false, "a batch of what moves no tensors");
  }

  /// A function of facts that are equal on all ranks.
  selection::Algorithm algorithm_for(const Batch& batch) const {
    if (batch.group->size() == 1) return selection::Algorithm::exchange;
    const std::int64_t bytes = batch.count() * static_cast<std::int64_t>(size_of(batch.dtype));
    // Partial sums in the element type would round 16-bit floats at every hop and overflow in
    // averages of integers.
    const bool one_tree =
        options_.deterministic || kernels::wide_type(kernels::spec_of(batch)) != batch.dtype;
    const auto algorithm = options_.algorithms.flat(
        {selection::hosts_of(*batch.group, options_.nodes), batch.group->size(), bytes, one_tree});
    const bool one_message =
        algorithm == selection::Algorithm::everybody && bytes > kSegmentBytesMax;
    return one_message ? selection::Algorithm::exchange : algorithm;
  }

  std::shared_ptr<mpi_transport::ChannelCommunicators> communicators_;
  RingOptions options_;
  std::map<Ticket, Running> running_;
  Ticket next_ticket_ = 1;
  std::uint64_t work_done_ = 0;
};

}  // namespace

std::unique_ptr<Backend> make_ring_backend(
    std::shared_ptr<mpi_transport::ChannelCommunicators> communicators, RingOptions options) {
  return std::make_unique<RingBackend>(std::move(communicators), std::move(options));
}

}  // namespace ringleader::ring
