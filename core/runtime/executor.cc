// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/runtime/executor.h>

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace ringleader::runtime {
namespace {

/// Batches that are seldom exceeded by those in flight at once.
constexpr std::size_t kSpareBatches = 16;

Status unsupported(const Batch& batch) {
  return Status(
      Code::unsupported,
      fmt::format("no backend of this build runs {} of {} {} elements in {} memory",
                  name_of(batch.op), batch.count(), name_of(batch.dtype), name_of(batch.device)));
}

}  // namespace

Executor::Executor(std::vector<std::unique_ptr<Backend>> backends, int rank, Memory memory,
                   OnLaunch on_launch, OnEnded on_ended)
    : backends_(std::move(backends)),
      rank_(rank),
      memory_(std::move(memory)),
      on_launch_(std::move(on_launch)),
      on_ended_(std::move(on_ended)) {}

void Executor::open_channel(std::uint32_t channel, const std::vector<int>& members) {
  auto group = std::make_shared<Group>();
  group->channel = channel;
  group->ranks = members;
  group->rank =
      static_cast<int>(std::find(members.begin(), members.end(), rank_) - members.begin());
  channels_[channel].group = std::move(group);
}

Status Executor::launch(const protocol::Launch& launch,
                        std::vector<std::shared_ptr<Operation>>& operations) {
  Channel& channel = channels_[launch.channel];
  ++batches_;
  tensors_ += launch.items.size();
  std::unique_ptr<PreparedBatch> prepared;
  if (spare_.empty()) {
    prepared = std::make_unique<PreparedBatch>();
  } else {
    prepared = std::move(spare_.back());
    spare_.pop_back();
  }
  prepared->operations.swap(operations);
  if (Status status = prepare(launch, channel.group, memory_, *prepared); !status.ok()) {
    return status;
  }
  // Before anything of it travels, so that all ranks end it alike and nothing waits behind it.
  Backend* const backend = backend_for(prepared->batch);
  if (backend == nullptr) return unsupported(prepared->batch);
  // In the order of decisions, which is that of all ranks; launches may be delayed by sizes.
  if (prepared->batch.device != Device::host && channel.opened.insert(backend).second) {
    if (Status status = backend->open_channel(channel.group); !status.ok()) return status;
  }
  if (channel.exchanging_sizes) {
    channel.waiting.push_back(std::move(prepared));
    return Status();
  }
  return start(channel, std::move(prepared));
}

Status Executor::start(Channel& channel, std::unique_ptr<PreparedBatch> prepared) {
  Running running;
  Batch& batch = prepared->batch;
  const bool exchange = needs_sizes(*prepared);
  if (exchange) running.sizes = std::make_unique<Batch>(sizes_batch(*prepared));
  running.prepared = std::move(prepared);
  channel.exchanging_sizes = exchange;
  Batch& first = exchange ? *running.sizes : batch;
  return start_batch(channel, first, std::move(running));
}

void Executor::recycle(std::unique_ptr<PreparedBatch> prepared) {
  if (spare_.size() >= kSpareBatches) return;
  prepared->clear();
  spare_.push_back(std::move(prepared));
}

Backend* Executor::backend_for(const Batch& batch) const {
  const auto found = std::find_if(backends_.begin(), backends_.end(),
                                  [&](const auto& backend) { return backend->supports(batch); });
  return found == backends_.end() ? nullptr : found->get();
}

Status Executor::start_batch(Channel& channel, Batch& batch, Running running) {
  batch.sequence = channel.next_sequence++;
  running.backend = backend_for(batch);
  if (running.backend == nullptr) return unsupported(batch);
  if (running.sizes == nullptr) {
    for (const auto& operation : running.prepared->operations) {
      if (operation != nullptr) on_launch_(*operation);
    }
  }
  const Result<Ticket> ticket = running.backend->launch(batch);
  if (!ticket.ok()) return ticket.status();
  running.ticket = *ticket;
  look_for_end(running);
  running_.push_back(std::move(running));
  return Status();
}

/// Device memory: users' streams can be made to wait long before the host sees the end.
void Executor::look_for_end(Running& running) {
  const PreparedBatch& prepared = *running.prepared;
  if (running.ended_known || running.sizes || prepared.batch.device == Device::host) return;
  const std::shared_ptr<DeviceEvent> ended = running.backend->ended(running.ticket);
  if (ended == nullptr) return;
  running.ended_known = true;
  for (const auto& operation : prepared.operations) {
    if (operation != nullptr) on_ended_(*operation, ended);
  }
}

Status Executor::sizes_known(std::unique_ptr<PreparedBatch> prepared) {
  Channel& channel = channels_[prepared->batch.group->channel];
  if (Status status = complete_sizes(memory_, *prepared); !status.ok()) return status;
  channel.exchanging_sizes = false;
  Batch& batch = prepared->batch;
  Running running;
  running.prepared = std::move(prepared);
  Status status = start_batch(channel, batch, std::move(running));
  while (status.ok() && !channel.waiting.empty() && !channel.exchanging_sizes) {
    auto next = std::move(channel.waiting.front());
    channel.waiting.pop_front();
    status = start(channel, std::move(next));
  }
  return status;
}

const std::vector<FinishedBatch>& Executor::poll() {
  finished_.clear();
  // What sizes_known() launches is put behind the others, so this goes by index.
  for (std::size_t i = 0; i < running_.size();) {
    std::optional<Status> outcome = running_[i].backend->poll(running_[i].ticket);
    if (!outcome) {
      look_for_end(running_[i]);
      ++i;
      continue;
    }
    Running done = std::move(running_[i]);
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
    const std::uint64_t launch_id = done.prepared->launch_id;
    if (outcome->ok() && done.sizes) {
      *outcome = sizes_known(std::move(done.prepared));
      if (outcome->ok()) continue;
    }
    finished_.push_back({launch_id, std::move(*outcome)});
    if (done.prepared) recycle(std::move(done.prepared));
  }
  return finished_;
}

std::uint64_t Executor::work_done() const {
  std::uint64_t total = 0;
  for (const auto& backend : backends_) total += backend->work_done();
  return total;
}

void Executor::abandon() {
  for (const auto& backend : backends_) backend->abandon();
}

void Executor::close_channel(std::uint32_t channel) {
  channels_.erase(channel);
  for (const auto& backend : backends_) backend->close_channel(channel);
}

}  // namespace ringleader::runtime
