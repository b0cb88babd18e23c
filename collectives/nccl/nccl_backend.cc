// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/nccl/nccl_backend.h>

#include <ringleader/collectives/nccl/channel.h>
#include <ringleader/collectives/nccl/handles.h>
#include <ringleader/core/window.h>

#include <map>
#include <memory_resource>
#include <utility>

namespace ringleader::nccl {
namespace {

class NcclBackend : public Backend {
 public:
  explicit NcclBackend(NcclOptions options) : options_(std::move(options)) {}

  ~NcclBackend() override {
    if (!running_.empty()) abandon();
    for (auto& [number, channel] : channels_) channel->close();
  }

  std::string_view name() const override { return "nccl"; }

  bool supports(const Batch& batch) const override { return batch.device == Device::cuda; }

  Status open_channel(const std::shared_ptr<const Group>& group) override {
    const UseDevice use(options_.device->get());
    Result<std::shared_ptr<Channel>> channel =
        Channel::open(*group, options_, use.status(), &tables_);
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
    found->second->close();
    channels_.erase(found);
  }

  /// All at once: to end one, NCCL waits for the device, where a kernel of another may be waiting
  /// for the same lost rank.
  void abandon() override {
    static_cast<void>(ncclGroupStart());
    for (auto& [number, channel] : channels_) {
      channel->fail(Status(Code::rank_lost, "the runtime has failed"));
      channel->abort();
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
  PinnedMemory pinned_;
  std::pmr::unsynchronized_pool_resource tables_{&pinned_};
  std::map<std::uint32_t, std::shared_ptr<Channel>> channels_;
  Window<Item> running_;  ///< by ticket
  std::uint64_t work_done_ = 0;
};

}  // namespace

std::unique_ptr<Backend> make_nccl_backend(NcclOptions options) {
  return std::make_unique<NcclBackend>(std::move(options));
}

}  // namespace ringleader::nccl
