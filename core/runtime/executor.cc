// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/runtime/executor.h>

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace ringleader::runtime {
namespace {

Status unsupported(const Batch& batch) {
  return Status(
      Code::unsupported,
      fmt::format("no backend of this build runs {} of {} {} elements in {} memory",
                  name_of(batch.op), batch.count(), name_of(batch.dtype), name_of(batch.device)));
}

}  // namespace

Executor::Executor(std::vector<std::unique_ptr<Backend>> backends, int rank,
                   FillNeutral fill_neutral, OnLaunch on_launch)
    : backends_(std::move(backends)),
      rank_(rank),
      fill_neutral_(std::move(fill_neutral)),
      on_launch_(std::move(on_launch)) {}

void Executor::open_channel(std::uint32_t channel, const std::vector<int>& members) {
  auto group = std::make_shared<Group>();
  group->channel = channel;
  group->ranks = members;
  group->rank =
      static_cast<int>(std::find(members.begin(), members.end(), rank_) - members.begin());
  channels_[channel].group = std::move(group);
}

Status Executor::launch(const protocol::Launch& launch,
                        std::vector<std::shared_ptr<Operation>> operations) {
  Channel& channel = channels_[launch.channel];
  ++batches_;
  tensors_ += launch.items.size();
  auto prepared = std::make_shared<PreparedBatch>(
      prepare(launch, channel.group, std::move(operations), fill_neutral_));
  // Before anything of it travels, so that all ranks end it alike and nothing waits behind it.
  if (backend_for(prepared->batch) == nullptr) return unsupported(prepared->batch);
  if (channel.exchanging_sizes) {
    channel.waiting.push_back(std::move(prepared));
    return Status();
  }
  return start(channel, std::move(prepared));
}

Status Executor::start(Channel& channel, std::shared_ptr<PreparedBatch> prepared) {
  Running running;
  running.prepared = prepared;
  if (!needs_sizes(*prepared)) return start_batch(channel, prepared->batch, std::move(running));
  channel.exchanging_sizes = true;
  running.sizes = std::make_shared<Batch>(sizes_batch(*prepared));
  Batch& sizes = *running.sizes;
  return start_batch(channel, sizes, std::move(running));
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
  running_.push_back(std::move(running));
  return Status();
}

Status Executor::sizes_known(std::shared_ptr<PreparedBatch> prepared) {
  Channel& channel = channels_[prepared->batch.group->channel];
  complete_sizes(*prepared);
  channel.exchanging_sizes = false;
  Running running;
  running.prepared = prepared;
  Status status = start_batch(channel, prepared->batch, std::move(running));
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
      ++i;
      continue;
    }
    const Running done = std::move(running_[i]);
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
    if (outcome->ok() && done.sizes) {
      *outcome = sizes_known(done.prepared);
      if (outcome->ok()) continue;
    }
    finished_.push_back({done.prepared->launch_id, std::move(*outcome)});
  }
  return finished_;
}

std::uint64_t Executor::work_done() const {
  std::uint64_t total = 0;
  for (const auto& backend : backends_) total += backend->work_done();
  return total;
}

void Executor::close_channel(std::uint32_t channel) {
  channels_.erase(channel);
  for (const auto& backend : backends_) backend->close_channel(channel);
}

}  // namespace ringleader::runtime
