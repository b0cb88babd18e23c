// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/hierarchical/hierarchical_backend.h>

#include <ringleader/collectives/kernels/pieces.h>
#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/collectives/kernels/staging.h>
#include <ringleader/core/node_groups.h>
#include <ringleader/core/window.h>

#include <deque>
#include <map>
#include <mutex>
#include <utility>

namespace ringleader::hierarchical {
namespace {

constexpr int kPhases = 3;  ///< scatter, between, gather

/// A batch in progress.
struct Running {
  const Batch* batch = nullptr;
  kernels::StagedBatch staged;
  Batch phases[kPhases];
  int phase = 0;
  bool launched = false;  ///< whether `phase` has been launched
  Ticket ticket = 0;      ///< of the launched phase
  std::optional<Status> outcome;
};

/// The batches of one channel. Each phase has a channel of its own. There the batches launch it in
/// order, each when its previous phase has ended.
struct ChannelState {
  NodeGroups groups;
  std::uint64_t batches = 0;
  std::deque<std::shared_ptr<Running>> running;
};

class HierarchicalBackend : public Backend {
 public:
  HierarchicalBackend(std::unique_ptr<Backend> inside, std::unique_ptr<Backend> between,
                      HierarchicalOptions options)
      : inside_(std::move(inside)),
        between_(std::move(between)),
        options_(std::move(options)),
        buffers_(options_.allocate) {}

  std::string_view name() const override { return "hierarchical"; }

  bool supports(const Batch& batch) const override {
    // Between the phases, values have the element type, so batches that must be rounded only once
    // are excluded.
    return batch.op == Op::allreduce && batch.device == Device::host &&
           is_hierarchical(*batch.group, options_.nodes) && chosen(batch) &&
           kernels::wide_type(kernels::spec_of(batch)) == batch.dtype;
  }

  Status open_channel(const std::shared_ptr<const Group>& group) override {
    const NodeGroups groups = node_groups_of(*group, options_.nodes);
    if (Status status = inside_->open_channel(groups.scatter); !status.ok()) return status;
    if (Status status = inside_->open_channel(groups.gather); !status.ok()) return status;
    if (Status status = between_->open_channel(groups.between); !status.ok()) return status;
    const std::lock_guard lock(mutex_);
    opened_[group->channel] = groups;
    return Status();
  }

  Result<Ticket> launch(const Batch& batch) override {
    const std::uint32_t channel = batch.group->channel;
    if (channels_.count(channel) == 0) {
      if (!take_opened(channel)) {
        if (Status status = open_channel(batch.group); !status.ok()) return status;
        take_opened(channel);
      }
    }
    ChannelState& state = channels_[channel];
    auto running = std::make_shared<Running>();
    prepare(state, batch, *running);
    state.running.push_back(running);
    if (Status status = advance(state); !status.ok()) return status;
    return running_.push(std::move(running));
  }

  std::optional<Status> poll(Ticket ticket) override {
    auto* const found = running_.find(ticket);
    ChannelState& state = channels_.at((*found)->batch->group->channel);
    if (Status status = advance(state); !status.ok()) return status;
    std::optional<Status> outcome = (*found)->outcome;
    if (outcome) running_.erase(ticket);
    return outcome;
  }

  std::uint64_t work_done() const override {
    return work_done_ + inside_->work_done() + between_->work_done();
  }

  void close_channel(std::uint32_t channel) override {
    take_opened(channel);
    const auto found = channels_.find(channel);
    if (found == channels_.end()) return;
    inside_->close_channel(found->second.groups.scatter->channel);
    inside_->close_channel(found->second.groups.gather->channel);
    between_->close_channel(found->second.groups.between->channel);
    channels_.erase(found);
  }

 private:
  bool chosen(const Batch& batch) const {
    const std::int64_t bytes = batch.count() * static_cast<std::int64_t>(size_of(batch.dtype));
    return options_.algorithms.hierarchical({p2p::nodes_of(*batch.group, options_.nodes),
                                             batch.group->size(), bytes, options_.deterministic});
  }

  /// Creates the state of an opened channel; returns false if the channel has not been opened.
  bool take_opened(std::uint32_t channel) {
    const std::lock_guard lock(mutex_);
    const auto opened = opened_.extract(channel);
    if (opened.empty()) return false;
    channels_[channel].groups = opened.mapped();
    return true;
  }

  Backend& backend_of(int phase) { return phase == 1 ? *between_ : *inside_; }

  /// Plans the phases: each rank's block of the whole is reduced inside, then between, then shared.
  void prepare(ChannelState& state, const Batch& batch, Running& running) {
    running.batch = &batch;
    running.staged = kernels::StagedBatch(batch, buffers_);
    const std::int64_t count = batch.count();
    const Group& node = *state.groups.scatter;
    const auto [begin, end] = share_of(count, node.size(), node.rank);
    std::byte* const whole = running.staged.output();
    std::byte* const own = kernels::at(whole, begin, batch.dtype);
    const void* const input = running.staged.input();
    for (Batch& phase : running.phases) {
      phase.sequence = state.batches;
      phase.dtype = batch.dtype;
      phase.reduce_op = batch.reduce_op;
    }
    ++state.batches;
    auto& [scatter, between, gather] = running.phases;
    scatter.group = state.groups.scatter;
    scatter.op = Op::reduce_scatter;
    if (scatter.reduce_op == ReduceOp::average) scatter.reduce_op = ReduceOp::sum;
    scatter.prescale = batch.prescale;
    scatter.tensors = {{input, own, count}};
    between.group = state.groups.between;
    between.postscale = batch.postscale;
    between.divisor = batch.divisor;
    between.tensors = {{own, own, end - begin}};
    gather.group = state.groups.gather;
    gather.op = Op::allgather;
    gather.tensors = {{own, whole, end - begin}};
    for (int rank = 0; rank < node.size(); ++rank) {
      const auto [first, last] = share_of(count, node.size(), rank);
      scatter.block_counts.push_back(last - first);
    }
    gather.block_counts = scatter.block_counts;
  }

  /// Advances all batches of the channel, each as far as those before it allow.
  Status advance(ChannelState& state) {
    int furthest = kPhases;  // no batch launches a phase that the one before it has not launched
    for (const auto& running : state.running) {
      if (Status status = advance(*running, furthest); !status.ok()) return status;
      furthest = running->launched ? running->phase : running->phase - 1;
    }
    while (!state.running.empty() && state.running.front()->outcome) state.running.pop_front();
    return Status();
  }

  Status advance(Running& running, int furthest) {
    while (running.phase < kPhases) {
      Backend& backend = backend_of(running.phase);
      if (!running.launched) {
        if (running.phase > furthest) return Status();
        if (running.phase == 0 && !pack(running)) return Status();
        const Result<Ticket> ticket = backend.launch(running.phases[running.phase]);
        if (!ticket.ok()) return ticket.status();
        running.ticket = *ticket;
        running.launched = true;
      }
      const std::optional<Status> outcome = backend.poll(running.ticket);
      if (!outcome) return Status();
      if (!outcome->ok()) return *outcome;
      ++running.phase;
      ++work_done_;
      running.launched = false;
    }
    if (running.outcome) return Status();
    ++work_done_;
    if (running.staged.unpack_some()) running.outcome = Status();
    return Status();
  }

  bool pack(Running& running) {
    ++work_done_;
    return running.staged.pack_some();
  }

  std::unique_ptr<Backend> inside_;
  std::unique_ptr<Backend> between_;
  HierarchicalOptions options_;
  kernels::BufferPool buffers_;  ///< outlives the running batches
  std::mutex mutex_;
  std::map<std::uint32_t, NodeGroups> opened_;  ///< guarded by mutex_
  std::map<std::uint32_t, ChannelState> channels_;
  Window<std::shared_ptr<Running>> running_;  ///< by ticket
  std::uint64_t work_done_ = 0;
};

}  // namespace

std::unique_ptr<Backend> make_hierarchical_backend(std::unique_ptr<Backend> inside,
                                                   std::unique_ptr<Backend> between,
                                                   HierarchicalOptions options) {
  return std::make_unique<HierarchicalBackend>(std::move(inside), std::move(between),
                                               std::move(options));
}

}  // namespace ringleader::hierarchical
