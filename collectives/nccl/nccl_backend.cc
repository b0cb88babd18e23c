// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/nccl/nccl_backend.h>

#include <ringleader/collectives/nccl/channel.h>
#include <ringleader/collectives/nccl/handles.h>
#include <ringleader/core/window.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <memory_resource>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

namespace ringleader::nccl {
namespace {

/// Reusable memory for the tables of batches. Allocating more may wait for the device, so some is
/// allocated before any kernel that waits for other ranks runs.
class Tables {
 public:
  std::pmr::memory_resource* memory() { return &pool_; }

  Status reserve() {
    try {
      std::vector<FusionTable> some;
      for (std::size_t bytes = sizeof(Piece); bytes <= kBytesMax; bytes *= 2) {
        for (int in_flight = 0; in_flight < 4; ++in_flight) {
          some.emplace_back(DType::f32, &pool_).pieces.reserve(bytes / sizeof(Piece));
        }
      }
    } catch (const std::bad_alloc&) {
      return Status(Code::transport, "there is no pinned memory for the tables of batches");
    }
    return Status();
  }

 private:
  /// Larger tables, those of more than 8192 tensors, are not kept.
  static constexpr std::size_t kBytesMax = 256 << 10;

  PinnedMemory pinned_;
  std::pmr::unsynchronized_pool_resource pool_{{0, kBytesMax}, &pinned_};
};

/// Time for kernels to end; recent versions of NCCL wait for the other ranks of the node.
constexpr std::chrono::seconds kAbortTimeout{10};

/// Aborts all communicators at once, each in a thread: to end one, NCCL may wait for the device,
/// where a kernel of another may be waiting for the same lost rank. Those that have not ended in
/// time are abandoned. Returns whether all have ended.
bool abort_all(std::vector<Communicator> communicators, int device) {
  struct Progress {
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t left;
  };
  const auto progress = std::make_shared<Progress>();
  progress->left = communicators.size();
  for (Communicator& communicator : communicators) {
    std::thread([progress, device, doomed = std::move(communicator)]() mutable {
      adopt_thread();
      const UseDevice use(device);
      doomed.abort();
      const std::lock_guard lock(progress->mutex);
      --progress->left;
      progress->changed.notify_all();
    }).detach();
  }
  std::unique_lock lock(progress->mutex);
  return progress->changed.wait_for(lock, kAbortTimeout, [&] { return progress->left == 0; });
}

class NcclBackend : public Backend {
 public:
  explicit NcclBackend(NcclOptions options) : options_(std::move(options)) {}

  ~NcclBackend() override {
    if (!running_.empty()) abandon();
    const UseDevice use(options_.device->get());
    for (auto& [number, channel] : channels_) channel->close();
    // Leaked on purpose: freeing memory that kernels may still read would wait for them.
    if (stuck_) static_cast<void>(tables_.release());
  }

  std::string_view name() const override { return "nccl"; }

  bool supports(const Batch& batch) const override { return batch.device == Device::cuda; }

  Status open_channel(const std::shared_ptr<const Group>& group) override {
    const UseDevice use(options_.device->get());
    const Status usable = use.status().ok() ? tables_->reserve() : use.status();
    Result<std::shared_ptr<Channel>> channel =
        Channel::open(*group, options_, usable, tables_->memory());
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
    return end(ticket, progress.status());
  }

  std::optional<Status> poll(Ticket ticket) override {
    const UseDevice use(options_.device->get());
    if (!use.status().ok()) return use.status();
    Item& item = *running_.find(ticket);
    const Result<bool> progress = item.channel->advance();
    if (!progress.ok()) return end(ticket, progress.status());
    if (*progress || item.channel->enqueues()) ++work_done_;
    if (item.running.ended == nullptr) return std::nullopt;
    const cudaError_t state = cudaEventQuery(item.running.ended->get());
    if (state != cudaErrorNotReady) return end(ticket, checked(state, "cudaEventQuery"));
    // This is not an error. Clear it, so that nobody who asks for the last error takes it for one.
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
    const UseDevice use(options_.device->get());
    found->second->close();
    channels_.erase(found);
  }

  void abandon() override {
    std::vector<Communicator> communicators;
    for (auto& [number, channel] : channels_) {
      channel->fail(Status(Code::rank_lost, "the runtime has failed"));
      for (Communicator& communicator : channel->take_communicators()) {
        communicators.push_back(std::move(communicator));
      }
    }
    stuck_ = !abort_all(std::move(communicators), options_.device->get());
  }

 private:
  struct Item {
    Running running;
    std::shared_ptr<Channel> channel;
  };

  Status end(Ticket ticket, Status outcome) {
    // Kept because the stream may still read its tables.
    if (!outcome.ok()) failed_.push_back(std::move(*running_.find(ticket)));
    running_.erase(ticket);
    ++work_done_;
    return outcome;
  }

  NcclOptions options_;
  std::unique_ptr<Tables> tables_ = std::make_unique<Tables>();
  std::map<std::uint32_t, std::shared_ptr<Channel>> channels_;
  Window<Item> running_;  ///< by ticket
  std::vector<Item> failed_;
  bool stuck_ = false;
  std::uint64_t work_done_ = 0;
};

}  // namespace

std::unique_ptr<Backend> make_nccl_backend(NcclOptions options) {
  return std::make_unique<NcclBackend>(std::move(options));
}

}  // namespace ringleader::nccl
