// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/runtime/executor.h>

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace ringleader::runtime {
namespace {

/// More batches than this are seldom in flight at once.
constexpr std::size_t kSpareBatches = 16;

Status unsupported(const Batch& batch) {
  return Status(
      Code::unsupported,
      fmt::format("no backend of this build runs {} of {} {} elements in {} memory",
                  name_of(batch.op), batch.count(), name_of(batch.dtype), name_of(batch.device)));
}

}  // namespace

Executor::Executor(std::vector<std::unique_ptr<Backend>> backends, int rank, Memory memory,
                   bool opens_aside, OnLaunch on_launch, OnEnded on_ended)
    : rank_(rank),
      memory_(std::move(memory)),
      opens_aside_(opens_aside),
      on_launch_(std::move(on_launch)),
      on_ended_(std::move(on_ended)) {
  for (auto& backend : backends) backends_.push_back(std::move(backend));
}

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
  Running running;
  running.prepared = std::move(prepared);
  // Before any of its data moves, so that all ranks end it alike and nothing waits behind it.
  if (Status status = choose_backend(channel, running); !status.ok()) return status;
  const bool sizes = needs_sizes(*running.prepared);
  if (sizes || needs_consent(*running.prepared)) {
    set_stage(running, sizes ? Running::Stage::sizes : Running::Stage::consent);
    if (Status status = choose_backend(channel, running); !status.ok()) return status;
  }
  return start(channel, std::move(running));
}

/// Chooses the first backend that supports the batch, and opens the channel on it at first use.
Status Executor::choose_backend(Channel& channel, Running& running) {
  const Batch& batch = running.batch();
  const auto found = std::find_if(backends_.begin(), backends_.end(),
                                  [&](const auto& backend) { return backend->supports(batch); });
  if (found == backends_.end()) return unsupported(batch);
  running.backend = found->get();
  if (!channel.opened.insert(running.backend).second) return Status();
  if (!opens_aside_ || batch.device != Device::host) {
    return running.backend->open_channel(channel.group);
  }
  opener_.open(*found, channel.group);
  ++channel.opening;
  return Status();
}

Status Executor::start(Channel& channel, Running running) {
  if (channel.exchanging || channel.opening > 0 || !channel.waiting.empty()) {
    channel.waiting.push_back(std::move(running));
    return Status();
  }
  return start_batch(channel, std::move(running));
}

Status Executor::start_waiting(Channel& channel) {
  while (!channel.waiting.empty() && !channel.exchanging && channel.opening == 0) {
    Running next = std::move(channel.waiting.front());
    channel.waiting.pop_front();
    if (Status status = start_batch(channel, std::move(next)); !status.ok()) return status;
  }
  return Status();
}

void Executor::set_stage(Running& running, Running::Stage stage) {
  running.stage = stage;
  running.exchange.reset();
  if (stage == Running::Stage::sizes) {
    running.exchange = std::make_unique<Batch>(sizes_batch(*running.prepared));
  } else if (stage == Running::Stage::consent) {
    running.exchange = std::make_unique<Batch>(consent_batch(*running.prepared));
  }
}

void Executor::recycle(std::unique_ptr<PreparedBatch> prepared) {
  if (spare_.size() >= kSpareBatches) return;
  prepared->clear();
  spare_.push_back(std::move(prepared));
}

Status Executor::start_batch(Channel& channel, Running running) {
  Batch& batch = running.batch();
  batch.sequence = channel.next_sequence++;
  channel.exchanging = running.stage != Running::Stage::data;
  if (running.stage == Running::Stage::data) {
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

/// Device memory: lets users' streams wait for the end long before the host sees it.
void Executor::look_for_end(Running& running) {
  const PreparedBatch& prepared = *running.prepared;
  if (running.ended_known || running.exchange || prepared.batch.device == Device::host) return;
  const std::shared_ptr<DeviceEvent> ended = running.backend->ended(running.ticket);
  if (ended == nullptr) return;
  running.ended_known = true;
  for (const auto& operation : prepared.operations) {
    if (operation != nullptr) on_ended_(*operation, ended);
  }
}

/// The members have finished an exchange; the batch's next stage goes ahead of those that wait.
void Executor::exchanged(Running running) {
  Channel& channel = channels_[running.prepared->batch.group->channel];
  Status status;
  bool fatal = true;
  if (running.stage == Running::Stage::sizes) {
    status = complete_sizes(memory_, *running.prepared);
    const bool asks = needs_consent(*running.prepared);
    set_stage(running, asks ? Running::Stage::consent : Running::Stage::data);
  } else {
    status = consent(*running.prepared);  // the same on all members
    fatal = false;
    set_stage(running, Running::Stage::data);
  }
  channel.exchanging = false;
  if (!status.ok()) {
    finish(running, status, fatal);
    status = Status();
  } else {
    if (status = choose_backend(channel, running); status.ok() && channel.opening > 0) {
      channel.waiting.push_front(std::move(running));
    } else if (status.ok()) {
      status = start_batch(channel, std::move(running));
    }
  }
  if (status.ok()) status = start_waiting(channel);
  if (!status.ok()) finished_.push_back({0, status});
}

/// A backend cannot serve the channel, which all members have found: what waits for it ends.
void Executor::refuse_waiting(Channel& channel, const OpenedChannel& opened) {
  channel.opened.erase(opened.backend);
  for (Running& running : std::exchange(channel.waiting, {})) {
    if (running.backend == opened.backend) {
      finish(running, opened.status, false);
    } else {
      channel.waiting.push_back(std::move(running));
    }
  }
}

void Executor::finish(Running& running, Status status, bool fatal) {
  finished_.push_back({running.prepared->launch_id, std::move(status), fatal});
  recycle(std::move(running.prepared));
}

const std::vector<FinishedBatch>& Executor::poll() {
  finished_.clear();
  while (const std::optional<OpenedChannel> opened = opener_.take()) {
    const auto channel = channels_.find(opened->channel);
    if (channel == channels_.end()) continue;
    --channel->second.opening;
    Status status = opened->status;
    if (status.code() == Code::unsupported) {
      refuse_waiting(channel->second, *opened);
      status = Status();
    }
    if (status.ok()) status = start_waiting(channel->second);
    if (!status.ok()) finished_.push_back({0, status});
  }
  // exchanged() appends what it launches, so this loop goes by index.
  for (std::size_t i = 0; i < running_.size();) {
    std::optional<Status> outcome = running_[i].backend->poll(running_[i].ticket);
    if (!outcome) {
      look_for_end(running_[i]);
      ++i;
      continue;
    }
    Running done = std::move(running_[i]);
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
    if (outcome->ok() && done.exchange) {
      exchanged(std::move(done));
    } else {
      finish(done, std::move(*outcome), true);
    }
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
