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
  StreamBuffer buffer;           ///< of a packed one
  std::shared_ptr<Event> ended;  ///< once all of it is in the stream
};

bool reduces(const Batch& batch) {
  return batch.op == Op::allreduce || batch.op == Op::reduce_scatter;
}

/// The batches of one group, in order.
class Channel {
 public:
  static Result<std::unique_ptr<Channel>> open(const Group& group, const NcclOptions& options) {
    Result<Communicator> communicator = Communicator::open(group, options);
    if (!communicator.ok()) return communicator.status();
    Result<Stream> stream = Stream::create();
    if (!stream.ok()) return stream.status();
    return std::unique_ptr<Channel>(new Channel(std::move(*communicator), std::move(*stream)));
  }

  void push(Running* running) { waiting_.push_back(running); }
  void close() { communicator_.close(); }
  void abort() { communicator_.abort(); }

  /// Enqueues what the communicator is free to take. A call that sets up connections keeps it
  /// busy, and its batch is completed when it says that it is done.
  Status advance() {
    while (!waiting_.empty()) {
      Running& running = *waiting_.front();
      if (!begun_) {
        if (Status status = begin(running); !status.ok()) return status;
        begun_ = true;
      }
      const std::optional<Status> state = communicator_.state();
      if (!state) return Status();
      if (!state->ok()) return *state;
      if (Status status = end(running); !status.ok()) return status;
      waiting_.pop_front();
      begun_ = false;
    }
    return Status();
  }

  /// An error of the network or of another member, found since.
  Status state() const { return communicator_.state().value_or(Status()); }

 private:
  Channel(Communicator communicator, Stream stream)
      : communicator_(std::move(communicator)), stream_(std::move(stream)) {}

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
    Status packed = pack(inputs_of(batch, transfer), batch.dtype, running.buffer.get(),
                         transfer.wire, {transfer.before, 1}, stream_.get());
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
      Status unpacked = unpack(outputs_of(batch, transfer), batch.dtype, running.buffer.get(),
                               transfer.wire, {transfer.after, transfer.divisor}, stream_.get());
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
};

class NcclBackend : public Backend {
 public:
  NcclBackend(NcclOptions options, int device) : options_(std::move(options)), device_(device) {}

  ~NcclBackend() override {
    for (auto& [number, channel] : channels_)
      running_.empty() ? channel->close() : channel->abort();
  }

  std::string_view name() const override { return "nccl"; }

  bool supports(const Batch& batch) const override { return batch.device == Device::cuda; }

  Status open_channel(const std::shared_ptr<const Group>& group) override {
    const UseDevice use(device_);
    if (!use.status().ok()) return use.status();
    Result<std::unique_ptr<Channel>> channel = Channel::open(*group, options_);
    if (!channel.ok()) return channel.status();
    channels_[group->channel] = std::move(*channel);
    return Status();
  }

  Result<Ticket> launch(const Batch& batch) override {
    const UseDevice use(device_);
    if (!use.status().ok()) return use.status();
    if (channels_.count(batch.group->channel) == 0) {
      if (Status status = open_channel(batch.group); !status.ok()) return status;
    }
    Channel& channel = *channels_.at(batch.group->channel);
    Running running;
    running.batch = &batch;
    const Ticket ticket = running_.push({std::move(running), &channel});
    channel.push(&running_.find(ticket)->running);
    if (Status status = channel.advance(); !status.ok()) return status;
    return ticket;
  }

  std::optional<Status> poll(Ticket ticket) override {
    const UseDevice use(device_);
    if (!use.status().ok()) return use.status();
    Item& item = *running_.find(ticket);
    if (Status status = item.channel->advance(); !status.ok()) return status;
    if (item.running.ended == nullptr) return std::nullopt;
    const cudaError_t state = cudaEventQuery(item.running.ended->get());
    if (state == cudaErrorNotReady) {
      Status status = item.channel->state();
      if (!status.ok()) return status;
      return std::nullopt;
    }
    running_.erase(ticket);
    ++work_done_;
    return checked(state, "cudaEventQuery");
  }

  std::shared_ptr<DeviceEvent> ended(Ticket ticket) override {
    return running_.find(ticket)->running.ended;
  }

  std::uint64_t work_done() const override { return work_done_; }

  void close_channel(std::uint32_t channel) override {
    const auto found = channels_.find(channel);
    if (found == channels_.end()) return;
    found->second->close();
    channels_.erase(found);
  }

  void abandon() override {
    for (auto& [number, channel] : channels_) channel->abort();
  }

 private:
  struct Item {
    Running running;
    Channel* channel = nullptr;
  };

  NcclOptions options_;
  int device_;
  std::map<std::uint32_t, std::unique_ptr<Channel>> channels_;
  Window<Item> running_;  ///< by ticket
  std::uint64_t work_done_ = 0;
};

int current_device() {
  int device = 0;
  return cudaGetDevice(&device) == cudaSuccess ? device : 0;
}

}  // namespace

bool has_device() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

std::unique_ptr<Backend> make_nccl_backend(NcclOptions options) {
  return std::make_unique<NcclBackend>(std::move(options), current_device());
}

}  // namespace ringleader::nccl
