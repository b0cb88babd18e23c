// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/nccl/channel.h>

#include <ringleader/collectives/nccl/arithmetic.h>
#include <ringleader/core/node_groups.h>
#include <ringleader/core/trace.h>

#include <new>
#include <utility>

namespace ringleader::nccl {
namespace {

bool reduces(const Batch& batch) {
  return batch.op == Op::allreduce || batch.op == Op::reduce_scatter;
}

/// Where the result goes. It is in place; for a reduce_scatter NCCL wants it at the rank's own
/// block.
void* result_of(const Running& running) {
  const Batch& batch = *running.batch;
  auto* const buffer = static_cast<std::byte*>(running.wire);
  if (batch.op == Op::allreduce) return buffer;
  const std::int64_t begin = block_of(batch, running.transfer) * batch.group->rank;
  return buffer + begin * static_cast<std::int64_t>(size_of(running.transfer.wire));
}

}  // namespace

Result<std::shared_ptr<Channel>> Channel::open(const Group& group, const NcclOptions& options,
                                               const Status& device,
                                               std::pmr::memory_resource* pinned) {
  // What may fail on this rank alone comes first; its outcome goes to the others.
  Status usable = device;
  if (usable.ok()) usable = load_kernels();
  if (usable.ok()) usable = load_arithmetic();
  Result<Stream> stream = usable.ok() ? Stream::create() : Result<Stream>(usable);
  std::shared_ptr<Channel> channel(
      new Channel(stream.ok() ? std::move(*stream) : Stream(), pinned));
  Status connected = channel->connect(group, options, stream.status());
  if (!connected.ok()) return connected;
  return channel;
}

/// Opens all communicators, even after one has failed, so that no member waits for one that another
/// does not open.
Status Channel::connect(const Group& group, const NcclOptions& options, const Status& device) {
  Status outcome = device;
  const auto open = [&](const Group& members) {
    Result<Communicator> communicator = Communicator::open(members, options, outcome);
    if (outcome.ok()) outcome = communicator.status();
    return communicator.ok() ? std::move(*communicator) : Communicator();
  };
  whole_ = open(group);
  if (options.config.hierarchical && is_hierarchical(group, options.nodes)) {
    const NodeGroups groups = node_groups_of(group, options.nodes);
    inside_ = open(*groups.scatter);
    between_ = open(*groups.between);
    node_size_ = groups.scatter->size();
    node_rank_ = groups.scatter->rank;
  }
  return outcome;
}

std::vector<Communicator*> Channel::communicators() {
  if (!inside_) return {&whole_};
  return {&whole_, &*inside_, &*between_};
}

Result<bool> Channel::advance() {
  bool progress = false;
  while (failed_.ok() && !waiting_.empty()) {
    Running& running = *waiting_.front();
    Status status;
    try {
      status = advance(running, progress);
    } catch (const std::bad_alloc&) {
      status = Status(Code::transport, "there is no pinned memory left for the tables of a batch");
    }
    if (!status.ok()) return failed(status);
    if (running.ended == nullptr) break;
    waiting_.pop_front();
  }
  if (!failed_.ok()) return failed_;
  return progress;
}

/// Advances the batch as far as it can without waiting.
Status Channel::advance(Running& running, bool& progress) {
  if (running.steps.empty()) {
    if (Status status = prepare(running); !status.ok()) return status;
  }
  while (running.next < running.steps.size()) {
    const Step& step = running.steps[running.next];
    if (!running.begun) {
      const TraceRange range("collective", name_of(running.batch->op));
      if (Status status = step.call(); !status.ok()) return status;
      running.begun = progress = true;
      running.looks = 0;
    }
    const std::optional<Status> state = step.communicator->state();
    if (!state) return Status();
    if (!state->ok()) return *state;
    running.begun = false;
    ++running.next;
  }
  return finish(running);
}

/// Does what comes before the first call.
Status Channel::prepare(Running& running) {
  const Batch& batch = *running.batch;
  for (const DeviceEvent* const ready : batch.ready) {
    const cudaEvent_t event = static_cast<const Event*>(ready)->get();
    RL_CUDA_RETURN_IF_ERROR(cudaStreamWaitEvent(stream_.get(), event, 0));
  }
  if (!reduces(batch)) {
    running.steps = {{&whole_, [this, &batch] { return move(batch, whole_, stream_.get()); }}};
    return Status();
  }
  running.transfer = transfer_of(batch);
  const Transfer& transfer = running.transfer;
  if (!transfer.packs) {
    running.steps = steps_of(running, transfer.input, transfer.output);
    return Status();
  }
  const std::size_t bytes = static_cast<std::size_t>(transfer.count) * size_of(transfer.wire);
  const Result<void*> wire = wire_.at_least(bytes, stream_.get());
  if (!wire.ok()) return wire.status();
  running.wire = *wire;
  const TraceRange range("pack");
  running.inputs = inputs_of(batch, transfer, pinned_);
  for (const FusionTable& table : running.inputs) {
    Status packed = kernels_.pack(table, running.wire, transfer.wire, {transfer.before, 1});
    if (!packed.ok()) return packed;
  }
  running.steps = steps_of(running, running.wire, result_of(running));
  return Status();
}

std::vector<Step> Channel::steps_of(const Running& running, const void* input, void* output) const {
  if (inside_ && running.batch->op == Op::allreduce) return hierarchical(running, input, output);
  const Reduction reduction = reduction_of(*running.batch, running.transfer);
  return {{&whole_, [=, this] { return reduce(reduction, input, output, whole_, stream_.get()); }}};
}

/// Each rank of a node reduces one block inside the node, and then with the ranks of the other
/// nodes that have the same block. A single reduction over all ranks handles what is left over.
/// Source: Horovod's hierarchical allreduce.
std::vector<Step> Channel::hierarchical(const Running& running, const void* input,
                                        void* output) const {
  const Reduction whole = reduction_of(*running.batch, running.transfer);
  // Aligned as NCCL prefers.
  const std::int64_t unit = kPieceAlignment / static_cast<std::int64_t>(size_of(whole.type));
  const std::int64_t block = whole.count / node_size_ / unit * unit;
  const auto at = [&](const void* memory, std::int64_t element) {
    auto* const bytes = static_cast<std::byte*>(const_cast<void*>(memory));
    return bytes + element * static_cast<std::int64_t>(size_of(whole.type));
  };
  void* const own = at(output, block * node_rank_);
  std::vector<Step> steps;
  if (block > 0) {
    Reduction inside = whole;
    inside.op = Op::reduce_scatter;
    inside.count = block;
    Reduction between = whole;
    between.count = block;
    between.factor = 1.0;  // the inputs were multiplied inside
    steps.push_back(
        {&*inside_, [=, this] { return reduce(inside, input, own, *inside_, stream_.get()); }});
    steps.push_back(
        {&*between_, [=, this] { return reduce(between, own, own, *between_, stream_.get()); }});
    steps.push_back(
        {&*inside_, [=, this] { return gather(between, own, output, *inside_, stream_.get()); }});
  }
  Reduction rest = whole;
  rest.count = whole.count - block * node_size_;
  if (rest.count > 0) {
    const void* const from = at(input, block * node_size_);
    void* const to = at(output, block * node_size_);
    steps.push_back({&whole_, [=, this] { return reduce(rest, from, to, whole_, stream_.get()); }});
  }
  return steps;
}

/// Does what comes after the last call.
Status Channel::finish(Running& running) {
  const Batch& batch = *running.batch;
  const Transfer& transfer = running.transfer;
  if (transfer.packs) {
    const TraceRange range("unpack");
    running.outputs = outputs_of(batch, transfer, pinned_);
    for (const FusionTable& table : running.outputs) {
      Status unpacked =
          kernels_.unpack(table, running.wire, transfer.wire, {transfer.after, transfer.divisor});
      if (!unpacked.ok()) return unpacked;
    }
  }
  Result<std::shared_ptr<Event>> ended = Event::record(stream_.get());
  if (!ended.ok()) return ended.status();
  running.ended = std::move(*ended);
  return Status();
}

bool Channel::enqueues() {
  constexpr int kLooksAtOnce = 1000;
  return !waiting_.empty() && waiting_.front()->begun && waiting_.front()->looks++ < kLooksAtOnce;
}

Status Channel::state() {
  for (const Communicator* const communicator : communicators()) {
    if (!failed_.ok()) break;
    const std::optional<Status> now = communicator->state();
    if (now && !now->ok()) fail(*now);
  }
  return failed_;
}

void Channel::fail(const Status& status) {
  if (failed_.ok()) failed_ = status;
  waiting_.clear();
}

Status Channel::failed(const Status& status) {
  fail(status);
  return failed_;
}

void Channel::close() {
  for (Communicator* const communicator : communicators()) communicator->close();
}

std::vector<Communicator> Channel::take_communicators() {
  std::vector<Communicator> taken;
  for (Communicator* const communicator : communicators()) {
    taken.push_back(std::exchange(*communicator, Communicator()));
  }
  return taken;
}

}  // namespace ringleader::nccl
