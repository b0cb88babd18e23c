// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/shm/shm_backend.h>

#include <ringleader/collectives/shm/collective.h>
#include <ringleader/core/window.h>

#include <deque>
#include <list>
#include <map>
#include <memory_resource>
#include <mutex>
#include <utility>

namespace ringleader::shm {
namespace {

/// Null for a small reduction.
std::shared_ptr<Collective> make_collective(const Batch& batch, Channel& channel,
                                            std::uint64_t number) {
  if (batch.op != Op::allreduce && batch.op != Op::reduce_scatter) {
    return make_move(batch, channel, number);
  }
  const std::int64_t bytes = batch.count() * static_cast<std::int64_t>(size_of(batch.dtype));
  return bytes <= kSmallBytes ? nullptr : make_large_reduce(batch, channel, number);
}

/// The batches of one channel, in order.
class Queue {
 public:
  explicit Queue(std::unique_ptr<Channel> channel)
      : channel_(std::move(channel)), waiting_(channel_->memory()) {}

  void push(const Batch& batch, Ticket ticket) {
    waiting_.push_back({ticket, &batch, make_collective(batch, *channel_, batches_++)});
    publish();
  }

  /// The outcome of the batch, if it is known by now.
  std::optional<Status> poll(Ticket ticket) {
    if (waiting_.empty() || waiting_.front().ticket > ticket) return failure_;  // it has ended
    if (!failure_.ok()) return failure_;
    publish();
    // Ask only until it is true: a member that has finished may publish the slot's next batch.
    met_ = met_ || channel_->all_published(worked_on_);
    if (!met_) return std::nullopt;
    std::optional<Status> outcome = advance();
    if (!outcome) return std::nullopt;
    failure_ = std::move(*outcome);
    channel_->finish(worked_on_);
    const Ticket ended = waiting_.front().ticket;
    waiting_.pop_front();
    ++worked_on_;
    met_ = false;
    if (ended != ticket) return std::nullopt;
    return failure_;
  }

  std::uint64_t work_done() const { return channel_->work_done(); }

  bool is_idle() const { return waiting_.empty() && channel_->is_idle(batches_); }

 private:
  struct Waiting {
    Ticket ticket = 0;
    const Batch* batch = nullptr;
    std::shared_ptr<Collective> collective;
  };

  std::optional<Status> advance() {
    const Waiting& first = waiting_.front();
    if (first.collective != nullptr) return first.collective->advance();
    reduce_small(*first.batch, *channel_, worked_on_);
    return Status();
  }

  /// Publishes batches as long as there are free slots.
  void publish() {
    for (; published_ < batches_ && channel_->may_publish(published_); ++published_) {
      const auto index = static_cast<std::size_t>(published_ - worked_on_);
      const Waiting& next = waiting_[index];
      Slot& slot = channel_->slot(channel_->rank(), published_);
      if (next.collective != nullptr) {
        next.collective->publish(slot);
      } else {
        publish_small(*next.batch, slot);
      }
      channel_->publish(published_);
    }
  }

  std::unique_ptr<Channel> channel_;
  std::pmr::deque<Waiting> waiting_;  ///< the first one is being worked on
  std::uint64_t batches_ = 0;         ///< launched, published, and ended
  std::uint64_t published_ = 0;
  std::uint64_t worked_on_ = 0;
  bool met_ = false;  ///< all members have published the first batch
  Status failure_;
};

using Queues = std::list<std::unique_ptr<Queue>>;

void drop_idle(Queues& queues) {
  queues.remove_if([](const auto& queue) { return queue->is_idle(); });
}

/// Queues of destroyed backends. Other ranks may still read what they have published, so their
/// memory is not reused until the next backend is destroyed and finds them idle.
struct Remains {
  std::mutex mutex;
  Queues queues;  ///< guarded by mutex
};

/// Never destroyed: sessions may end while the process exits.
Remains& remains() {
  static auto* const instance = new Remains;
  return *instance;
}

class ShmBackend : public Backend {
 public:
  explicit ShmBackend(std::shared_ptr<Node> node) : node_(std::move(node)) {}

  ~ShmBackend() override {
    for (auto& [channel, queue] : queues_) closed_.push_back(std::move(queue));
    const std::lock_guard lock(remains().mutex);
    remains().queues.splice(remains().queues.end(), closed_);
    drop_idle(remains().queues);
  }

  std::string_view name() const override { return "shm"; }

  bool supports(const Batch& batch) const override {
    return batch.device == Device::host && node_->shares(*batch.group);
  }

  Status open_channel(const std::shared_ptr<const Group>& group) override {
    Result<std::unique_ptr<Channel>> channel = Channel::open(node_, group);
    if (!channel.ok()) return channel.status();
    const std::lock_guard lock(mutex_);
    opened_[group->channel] = std::make_unique<Queue>(std::move(*channel));
    return Status();
  }

  Result<Ticket> launch(const Batch& batch) override {
    const std::uint32_t channel = batch.group->channel;
    auto found = queues_.find(channel);
    if (found == queues_.end()) {
      std::unique_ptr<Queue> opened = take_opened(channel);
      if (opened == nullptr) {
        if (Status status = open_channel(batch.group); !status.ok()) return status;
        opened = take_opened(channel);
      }
      found = queues_.emplace(channel, std::move(opened)).first;
    }
    Queue& queue = *found->second;
    queue.push(batch, running_.next());
    return running_.push(&queue);
  }

  std::optional<Status> poll(Ticket ticket) override {
    Queue& queue = **running_.find(ticket);
    const std::uint64_t before = queue.work_done();
    std::optional<Status> outcome = queue.poll(ticket);
    work_done_ += queue.work_done() - before;
    if (outcome) running_.erase(ticket);
    return outcome;
  }

  std::uint64_t work_done() const override { return work_done_; }

  void close_channel(std::uint32_t channel) override {
    if (auto unused = take_opened(channel)) closed_.push_back(std::move(unused));
    const auto found = queues_.find(channel);
    if (found != queues_.end()) {
      closed_.push_back(std::move(found->second));
      queues_.erase(found);
    }
    drop_idle(closed_);
  }

 private:
  std::unique_ptr<Queue> take_opened(std::uint32_t channel) {
    const std::lock_guard lock(mutex_);
    auto taken = opened_.extract(channel);
    return taken.empty() ? nullptr : std::move(taken.mapped());
  }

  std::shared_ptr<Node> node_;
  std::mutex mutex_;
  std::map<std::uint32_t, std::unique_ptr<Queue>> opened_;  ///< guarded by mutex_
  std::map<std::uint32_t, std::unique_ptr<Queue>> queues_;
  Queues closed_;           ///< kept until the others are done with them too
  Window<Queue*> running_;  ///< by ticket
  std::uint64_t work_done_ = 0;
};

}  // namespace

std::unique_ptr<Backend> make_shm_backend(std::shared_ptr<Node> node) {
  return std::make_unique<ShmBackend>(std::move(node));
}

}  // namespace ringleader::shm
