// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/p2p/p2p_backend.h>

#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/collectives/kernels/staging.h>
#include <ringleader/collectives/p2p/algorithm.h>
#include <ringleader/core/window.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace ringleader::p2p {
namespace {

/// Tags are below 2^15. A channel never has this many batches in flight at once.
constexpr std::uint64_t kBatchesInFlightMax = 32768 / kTagsPerBatch;

/// The most that a transport takes as one message.
constexpr std::int64_t kSegmentBytesMax = 1 << 30;

std::unique_ptr<Algorithm> make_allreduce(const Context& context, AllreduceAlgorithm algorithm) {
  switch (algorithm) {
    case AllreduceAlgorithm::everybody:
      return make_everybody(context);
    case AllreduceAlgorithm::halving_doubling:
      return make_halving_doubling(context);
    case AllreduceAlgorithm::ring:
      return make_ring_allreduce(context);
    case AllreduceAlgorithm::exchange:
    case AllreduceAlgorithm::hierarchical:  // another backend's; flat() never returns it
      break;
  }
  return make_share_exchange(context);
}

/// A batch in progress: packed, run, unpacked.
struct Running {
  const Batch* batch = nullptr;
  Context context;
  kernels::StagedBatch staged;
  std::unique_ptr<Algorithm> algorithm;  ///< null until all is packed
  bool ran = false;
};

class P2pBackend : public Backend {
 public:
  P2pBackend(std::shared_ptr<Transport> transport, P2pOptions options)
      : transport_(std::move(transport)), options_(std::move(options)) {
    options_.segment_bytes = std::clamp<std::int64_t>(options_.segment_bytes, 1, kSegmentBytesMax);
  }

  std::string_view name() const override { return "p2p"; }

  bool supports(const Batch& batch) const override { return batch.device == Device::host; }

  Status open_channel(const std::shared_ptr<const Group>& group) override {
    return transport_->endpoint(*group).status();
  }

  Result<Ticket> launch(const Batch& batch) override {
    const Result<Endpoint*> endpoint = transport_->endpoint(*batch.group);
    if (!endpoint.ok()) return endpoint.status();
    const Ticket ticket = running_.push(Running());
    Running& running = *running_.find(ticket);
    running.batch = &batch;
    running.staged = kernels::StagedBatch(batch, buffers_);
    Context& context = running.context;
    context.batch = &batch;
    context.input = running.staged.input();
    context.output = running.staged.output();
    context.endpoint = *endpoint;
    context.buffers = &buffers_;
    context.tag = static_cast<int>(batch.sequence % kBatchesInFlightMax) * kTagsPerBatch;
    context.segment_bytes = options_.segment_bytes;
    pack(running);
    return ticket;
  }

  std::optional<Status> poll(Ticket ticket) override {
    Running& running = *running_.find(ticket);
    if (!running.algorithm) {
      pack(running);
      return std::nullopt;
    }
    if (!running.ran) {
      const std::int64_t before = running.algorithm->progress();
      const std::optional<Status> outcome = running.algorithm->advance();
      if (running.algorithm->progress() != before) ++work_done_;
      if (!outcome) return std::nullopt;
      if (!outcome->ok()) return outcome;
      running.ran = true;
    }
    ++work_done_;
    if (!running.staged.unpack_some()) return std::nullopt;
    running_.erase(ticket);
    return Status();
  }

  std::uint64_t work_done() const override { return work_done_; }

  void close_channel(std::uint32_t channel) override { transport_->close(channel); }

 private:
  void pack(Running& running) {
    ++work_done_;
    if (running.staged.pack_some()) running.algorithm = make_algorithm(running.context);
  }

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
    }
    RL_CHECK(false, "a batch of what moves no tensors");
  }

  /// Depends only on facts that are equal on all ranks.
  AllreduceAlgorithm algorithm_for(const Batch& batch) const {
    if (batch.group->size() == 1) return AllreduceAlgorithm::exchange;
    const std::int64_t bytes = batch.count() * static_cast<std::int64_t>(size_of(batch.dtype));
    // Partial sums in the element type would round 16-bit floats at every hop and overflow in
    // averages of integers.
    const bool one_tree =
        options_.deterministic || kernels::wide_type(kernels::spec_of(batch)) != batch.dtype;
    const auto algorithm = options_.algorithms.flat(
        {nodes_of(*batch.group, options_.nodes), batch.group->size(), bytes, one_tree});
    const bool one_message = algorithm == AllreduceAlgorithm::everybody && bytes > kSegmentBytesMax;
    return one_message ? AllreduceAlgorithm::exchange : algorithm;
  }

  std::shared_ptr<Transport> transport_;
  P2pOptions options_;
  kernels::BufferPool buffers_;  ///< outlives the running batches
  Window<Running> running_;      ///< by ticket
  std::uint64_t work_done_ = 0;
};

}  // namespace

std::unique_ptr<Backend> make_p2p_backend(std::shared_ptr<Transport> transport,
                                          P2pOptions options) {
  return std::make_unique<P2pBackend>(std::move(transport), std::move(options));
}

}  // namespace ringleader::p2p
