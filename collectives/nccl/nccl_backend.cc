// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/nccl/nccl_backend.h>

#include <ringleader/collectives/nccl/collective.h>
#include <ringleader/collectives/nccl/fusion_kernels.h>
#include <ringleader/collectives/nccl/handles.h>
#include <ringleader/core/window.h>

#include <deque>
#include <map>
#include <utility>

namespace ringleader::nccl {
namespace {

/// A batch on its way.
struct Running {
  const Batch* batch = nullptr;
  Transfer transfer;
  FusionTable inputs;  ///< of a packed one, whose kernels may read them until it has ended
  FusionTable outputs;
  StreamBuffer buffer;
  std::shared_ptr<Event> ended;  ///< once all of it is in the stream
};

bool reduces(const Batch& batch) {
  return batch.op == Op::allreduce || batch.op == Op::reduce_scatter;
}

/// The batches of one group, in order.
class Channel {
 public:
  /// Collective, also for a member whose device cannot be used (`device` says why).
  static Result<std::shared_ptr<Channel>> open(const Group& group, const NcclOptions& options,
                                               const Status& device) {
    Result<Communicator> communicator = Communicator::open(group, options, device);
    if (!communicator.ok()) return communicator.status();
    if (Status status = load_kernels(); !status.ok()) return status;
    Result<Stream> stream = Stream::create();
    if (!stream.ok()) return stream.status();
    return std::shared_ptr<Channel>(new Channel(std::move(*communicator), std::move(*stream)));
  }

  void push(Running* running) { waiting_.push_back(running); }
  Communicator& communicator() { return communicator_; }

  /// Nothing is begun any more, and nothing in `waiting_` touched.
  void fail(const Status& status) {
    if (failed_.ok()) failed_ = status;
    waiting_.clear();
  }

  /// Enqueues what the communicator is free to take; whether that was something. A call that sets
  /// up connections keeps it busy, and its batch is completed when it says that it is done.
  Result<bool> advance() {
    bool progress = false;
    while (failed_.ok() && !waiting_.empty()) {
      Running& running = *waiting_.front();
      if (!begun_) {
        if (Status status = begin(running); !status.ok()) return failed(status);
        begun_ = progress = true;
      }
      const std::optional<Status> state = communicator_.state();
      if (!state) break;
      if (!state->ok()) return failed(*state);
      if (Status status = end(running); !status.ok()) return failed(status);
      waiting_.pop_front();
      begun_ = false;
    }
    if (!failed_.ok()) return failed_;
    return progress;
  }

  /// An error of the network or of another member, found since.
  Status state() {
    if (failed_.ok()) {
      const std::optional<Status> now = communicator_.state();
      if (now && !now->ok()) fail(*now);
    }
    return failed_;
  }

 private:
  Channel(Communicator communicator, Stream stream)
      : communicator_(std::move(communicator)), stream_(std::move(stream)) {}

  Status failed(const Status& status) {
    fail(status);
    return failed_;
  }

  /// Up to and with NCCL's call.
  Status begin(Running& running) {
    const Batch& batch = *running.batch;
    for (const DeviceEvent* const ready : batch.ready) {
      const cudaEvent_t event = static_cast<const Event*>(ready)->get();
      RL_CUDA_RETURN_IF_ERROR(cudaStreamWaitEvent(stream_.get(), event, 0));
    }
    if (!reduces(batch)) return move(batch, communicator_, stream_.get());
    running.transfer = transfer_of(batch);
    const Transfer& transfer = running.transfer;
    if (!transfer.packs) {
      return reduce(batch, transfer, transfer.input, transfer.output, communicator_, stream_.get());
    }
    const std::size_t bytes = static_cast<std::size_t>(transfer.count) * size_of(transfer.wire);
    Result<StreamBuffer> buffer = StreamBuffer::allocate(bytes, stream_.get());
    if (!buffer.ok()) return buffer.status();
    running.buffer = std::move(*buffer);
    running.inputs = inputs_of(batch, transfer);
    Status packed = pack(running.inputs, batch.dtype, running.buffer.get(), transfer.wire,
                         {transfer.before, 1}, stream_.get());
    if (!packed.ok()) return packed;
    return reduce(batch, transfer, running.buffer.get(), result_of(running), communicator_,
                  stream_.get());
  }

  /// In place, where NCCL wants the result of a reduce_scatter to be for that.
  static void* result_of(const Running& running) {
    const Batch& batch = *running.batch;
    auto* const buffer = static_cast<std::byte*>(running.buffer.get());
    if (batch.op == Op::allreduce) return buffer;
    const std::int64_t begin = block_of(batch, running.transfer) * batch.group->rank;
    return buffer + begin * static_cast<std::int64_t>(size_of(running.transfer.wire));
  }

  /// What comes after NCCL's call.
  Status end(Running& running) {
    const Batch& batch = *running.batch;
    const Transfer& transfer = running.transfer;
    if (transfer.packs) {
      running.outputs = outputs_of(batch, transfer);
      Status unpacked = unpack(running.outputs, batch.dtype, running.buffer.get(), transfer.wire,
                               {transfer.after, transfer.divisor}, stream_.get());
      if (!unpacked.ok()) return unpacked;
      running.buffer = StreamBuffer();  // when the stream has come so far
    }
    Result<std::shared_ptr<Event>> ended = Event::record(stream_.get());
    if (!ended.ok()) return ended.status();
    running.ended = std::move(*ended);
    return Status();
  }

  Communicator communicator_;  // destroyed last: buffers of the stream may be in use by it
  Stream stream_;
  std::deque<Running*> waiting_;  ///< not wholly enqueued
  bool begun_ = false;            ///< the first of them
  Status failed_;                 ///< for good
};

class NcclBackend : public Backend {
 public:
  explicit NcclBackend(NcclOptions options) : options_(std::move(options)) {}

  ~NcclBackend() override {
    if (!running_.empty()) abandon();
    for (auto& [number, channel] : channels_) channel->communicator().close();
  }

  std::string_view name() const override { return "nccl"; }

  bool supports(const Batch& batch) const override { return batch.device == Device::cuda; }

  Status open_channel(const std::shared_ptr<const Group>& group) override {
    const UseDevice use(options_.device->get());
    Result<std::shared_ptr<Channel>> channel = Channel::open(*group, options_, use.status());
    if (!channel.ok()) return channel.status();
    channels_[group->channel] = std::move(*channel);
    return Status();
  }

  Result<Ticket> launch(const Batch& batch) override {
    if (channels_.count(batch.group->channel) == 0) {
      if (Status status = open_channel(batch.group); !status.ok()) return status;
    }
    const UseDevice use(options_.device->get());
    if (!use.status().ok()) return use.status();
    const std::shared_ptr<Channel>& channel = channels_.at(batch.group->channel);
    Running running;
    running.batch = &batch;
    const Ticket ticket = running_.push({std::move(running), channel});
    channel->push(&running_.find(ticket)->running);
    const Result<bool> progress = channel->advance();
    if (progress.ok()) return ticket;
    running_.erase(ticket);
    return progress.status();
  }

  std::optional<Status> poll(Ticket ticket) override {
    const UseDevice use(options_.device->get());
    if (!use.status().ok()) return use.status();
    Item& item = *running_.find(ticket);
    const Result<bool> progress = item.channel->advance();
    if (!progress.ok()) return end(ticket, progress.status());
    if (*progress) ++work_done_;
    if (item.running.ended == nullptr) return std::nullopt;
    const cudaError_t state = cudaEventQuery(item.running.ended->get());
    if (state != cudaErrorNotReady) return end(ticket, checked(state, "cudaEventQuery"));
    // It is no error, and must not be taken for one by whoever asks for the last.
    if (cudaPeekAtLastError() == cudaErrorNotReady) static_cast<void>(cudaGetLastError());
    Status status = item.channel->state();
    if (!status.ok()) return end(ticket, std::move(status));
    return std::nullopt;
  }

  std::shared_ptr<DeviceEvent> ended(Ticket ticket) override {
    return running_.find(ticket)->running.ended;
  }

  std::uint64_t work_done() const override { return work_done_; }

  void close_channel(std::uint32_t channel) override {
    const auto found = channels_.find(channel);
    if (found == channels_.end()) return;
    found->second->communicator().close();
    channels_.erase(found);
  }

  /// All at once: to end one, NCCL waits for the device, where a kernel of another may be waiting
  /// for the same lost rank.
  void abandon() override {
    static_cast<void>(ncclGroupStart());
    for (auto& [number, channel] : channels_) {
      channel->fail(Status(Code::rank_lost, "the runtime has failed"));
      channel->communicator().abort();
    }
    static_cast<void>(ncclGroupEnd());
  }

 private:
  struct Item {
    Running running;
    std::shared_ptr<Channel> channel;
  };

  Status end(Ticket ticket, Status outcome) {
    running_.erase(ticket);
    ++work_done_;
    return outcome;
  }

  NcclOptions options_;
  std::map<std::uint32_t, std::shared_ptr<Channel>> channels_;
  Window<Item> running_;  ///< by ticket
  std::uint64_t work_done_ = 0;
};

}  // namespace

std::unique_ptr<Backend> make_nccl_backend(NcclOptions options) {
  return std::make_unique<NcclBackend>(std::move(options));
}

}  // namespace ringleader::nccl
