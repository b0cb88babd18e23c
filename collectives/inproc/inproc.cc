// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/inproc/inproc.h>

#include <ringleader/collectives/kernels/pieces.h>
#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/core/window.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

namespace ringleader::inproc {
namespace {

using kernels::at;
using kernels::copy_elements;

/// Elements of a share that one poll handles: bounded work, and at most 2 MiB of f64 per source.
constexpr std::int64_t kElementsPerPoll = 1 << 18;

/// The rendezvous of all members of a group in one batch.
struct Rendezvous {
  std::vector<const Batch*> batches;  ///< by group rank; written under the hub's mutex
  std::atomic<int> arrived{0};
  std::atomic<int> finished{0};
  int left = 0;  ///< members that have seen the end; guarded by the hub's mutex
};

}  // namespace

struct Hub::Shared {
  struct Inbox {
    std::mutex mutex;
    std::vector<ReceivedMessage> messages;
    std::function<void()> waker;
  };

  explicit Shared(int size) : inboxes(static_cast<std::size_t>(size)) {}

  std::vector<Inbox> inboxes;
  std::mutex mutex;
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::shared_ptr<Rendezvous>> rendezvous;
};

namespace {

class InprocControlPlane : public ControlPlane {
 public:
  InprocControlPlane(std::shared_ptr<Hub::Shared> shared, int rank)
      : shared_(std::move(shared)), rank_(rank) {}

  Status send(int to, MessageBytes bytes) override {
    Hub::Shared::Inbox& inbox = shared_->inboxes[static_cast<std::size_t>(to)];
    const std::lock_guard lock(inbox.mutex);
    inbox.messages.push_back({rank_, std::move(bytes)});
    if (inbox.waker) inbox.waker();
    return Status();
  }

  Status poll(std::vector<ReceivedMessage>& received) override {
    Hub::Shared::Inbox& inbox = own();
    const std::lock_guard lock(inbox.mutex);
    for (ReceivedMessage& message : inbox.messages) received.push_back(std::move(message));
    inbox.messages.clear();
    return Status();
  }

  bool sent_all() override { return true; }

  bool set_waker(std::function<void()> waker) override {
    const std::lock_guard lock(own().mutex);
    own().waker = std::move(waker);
    return true;
  }

 private:
  Hub::Shared::Inbox& own() { return shared_->inboxes[static_cast<std::size_t>(rank_)]; }

  std::shared_ptr<Hub::Shared> shared_;
  int rank_;
};

/// A batch of this rank in progress.
struct Running {
  const Batch* batch = nullptr;
  std::shared_ptr<Rendezvous> rendezvous;
  std::int64_t position = 0;  ///< elements of this rank's part that are done
  bool finished = false;
};

/// Reduces elements [begin, begin + count) of tensor t over all ranks, and writes them to all
/// ranks.
void reduce_piece(const Rendezvous& rendezvous, const Batch& mine, std::size_t t,
                  std::int64_t begin, std::int64_t count) {
  std::vector<const void*> sources;
  for (const Batch* batch : rendezvous.batches) {
    sources.push_back(at(batch->tensors[t].input, begin, mine.dtype));
  }
  void* first = at(rendezvous.batches[0]->tensors[t].output, begin, mine.dtype);
  kernels::reduce(kernels::spec_of(mine), sources, first, count);
  for (std::size_t r = 1; r < rendezvous.batches.size(); ++r) {
    copy_elements(first, at(rendezvous.batches[r]->tensors[t].output, begin, mine.dtype), count,
                  mine.dtype);
  }
}

/// Allgather, alltoall and exchange: copies rank `from`'s block for this rank. In an allgather, the
/// block may already be in place.
void fetch_block(const Rendezvous& rendezvous, const Batch& mine, int from) {
  const Batch& theirs = *rendezvous.batches[static_cast<std::size_t>(from)];
  const std::int64_t offset =
      mine.op != Op::allgather ? block_begin(theirs.send_counts, mine.group->rank) : 0;
  copy_elements(at(theirs.tensors[0].input, offset, mine.dtype),
                at(mine.tensors[0].output, block_begin(mine.block_counts, from), mine.dtype),
                mine.block_counts[static_cast<std::size_t>(from)], mine.dtype);
}

void scatter_piece(const Rendezvous& rendezvous, const Batch& mine, std::int64_t begin,
                   std::int64_t count) {
  const std::int64_t offset = block_begin(mine.block_counts, mine.group->rank) + begin;
  std::vector<const void*> sources;
  for (const Batch* batch : rendezvous.batches) {
    sources.push_back(at(batch->tensors[0].input, offset, mine.dtype));
  }
  kernels::reduce(kernels::spec_of(mine), sources, at(mine.tensors[0].output, begin, mine.dtype),
                  count);
}

void broadcast_piece(const Rendezvous& rendezvous, const Batch& mine, std::int64_t begin,
                     std::int64_t end) {
  const Batch& root = *rendezvous.batches[static_cast<std::size_t>(mine.root)];
  kernels::for_each_piece(
      mine, begin, end, [&](std::size_t t, std::int64_t offset, std::int64_t count) {
        copy_elements(at(root.tensors[t].input, offset, mine.dtype),
                      at(mine.tensors[t].output, offset, mine.dtype), count, mine.dtype);
      });
}

/// Does the next bounded part of this rank's work. Returns true once all of it is done.
bool advance(Running& running) {
  const Batch& batch = *running.batch;
  const int size = batch.group->size();
  const std::int64_t begin = running.position;
  std::int64_t total = 0;
  std::int64_t step = kElementsPerPoll / size;
  switch (batch.op) {
    case Op::allreduce: {
      const auto [first, last] = share_of(batch.count(), size, batch.group->rank);
      total = last - first;
      kernels::for_each_piece(batch, first + begin, first + std::min(begin + step, total),
                              [&](std::size_t t, std::int64_t offset, std::int64_t count) {
                                reduce_piece(*running.rendezvous, batch, t, offset, count);
                              });
      break;
    }
    case Op::broadcast:
      total = batch.count();
      broadcast_piece(*running.rendezvous, batch, begin, std::min(begin + step, total));
      break;
    case Op::reduce_scatter:
      total = batch.block_counts[static_cast<std::size_t>(batch.group->rank)];
      scatter_piece(*running.rendezvous, batch, begin, std::min(step, total - begin));
      break;
    case Op::allgather:
    case Op::alltoall:
    case Op::exchange:  // one block per poll
      total = size;
      step = 1;
      if (begin < total) fetch_block(*running.rendezvous, batch, static_cast<int>(begin));
      break;
  }
  running.position = std::min(begin + step, total);
  return running.position == total;
}

class InprocBackend : public Backend {
 public:
  explicit InprocBackend(std::shared_ptr<Hub::Shared> shared) : shared_(std::move(shared)) {}

  std::string_view name() const override { return "inproc"; }

  bool supports(const Batch& batch) const override { return batch.device == Device::host; }

  Result<Ticket> launch(const Batch& batch) override {
    const std::lock_guard lock(shared_->mutex);
    auto& rendezvous = shared_->rendezvous[{batch.group->channel, batch.sequence}];
    if (rendezvous == nullptr) {
      rendezvous = std::make_shared<Rendezvous>();
      rendezvous->batches.resize(batch.group->ranks.size());
    }
    rendezvous->batches[static_cast<std::size_t>(batch.group->rank)] = &batch;
    ++rendezvous->arrived;
    return running_.push({&batch, rendezvous, 0, false});
  }

  std::optional<Status> poll(Ticket ticket) override {
    Running& running = *running_.find(ticket);
    const int size = running.batch->group->size();
    if (running.rendezvous->arrived < size) return std::nullopt;
    if (!running.finished) {
      ++work_done_;
      if (!advance(running)) return std::nullopt;
      running.finished = true;
      ++running.rendezvous->finished;
    }
    // The others may still read this rank's input or write its output.
    if (running.rendezvous->finished < size) return std::nullopt;
    const std::lock_guard lock(shared_->mutex);
    if (++running.rendezvous->left == size) {
      shared_->rendezvous.erase({running.batch->group->channel, running.batch->sequence});
    }
    running_.erase(ticket);
    return Status();
  }

  std::uint64_t work_done() const override { return work_done_; }

 private:
  std::shared_ptr<Hub::Shared> shared_;
  std::uint64_t work_done_ = 0;
  Window<Running> running_;  ///< by ticket
};

}  // namespace

Hub::Hub(int size) : shared_(std::make_shared<Shared>(size)) {}

Hub::~Hub() = default;

std::unique_ptr<ControlPlane> Hub::control_plane(int rank) {
  return std::make_unique<InprocControlPlane>(shared_, rank);
}

std::unique_ptr<Backend> Hub::backend(int /*rank*/) {
  return std::make_unique<InprocBackend>(shared_);
}

}  // namespace ringleader::inproc
