// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/shm/channel.h>

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <string>
#include <utility>

namespace ringleader::shm {
namespace {

using std::memory_order_acquire;
using std::memory_order_relaxed;
using std::memory_order_release;

/// Bytes of a slice of the input stage. Measured on 2 cores with 1 MiB of L2 cache each, 64 MiB in
/// place: 32 KiB 10.0 ms, 64 KiB 9.2, 128 KiB 8.0, 256 KiB 7.7, 512 KiB 7.8 or 18, 1 MiB 8.4 or 22.
/// With large slices, the stages and tensors together sometimes outgrow that cache.
constexpr std::int64_t kSliceBytes = 256 << 10;
constexpr std::int64_t kPartBytesMin = 4096;

std::int64_t round_up(std::int64_t bytes) {
  constexpr auto kLine = static_cast<std::int64_t>(kCacheLine);
  return (bytes + kLine - 1) / kLine * kLine;
}

std::int64_t consumed_bytes(int size) {
  return round_up(std::int64_t{kStages} * size *
                  static_cast<std::int64_t>(sizeof(std::atomic<std::uint64_t>)));
}

}  // namespace

Channel::Channel(std::shared_ptr<Node> node, std::shared_ptr<const Group> group)
    : node_(std::move(node)),
      group_(std::move(group)),
      part_bytes_(round_up(std::max(kPartBytesMin, kSliceBytes / group_->size()))),
      members_(static_cast<std::size_t>(group_->size())) {}

Result<std::unique_ptr<Channel>> Channel::open(std::shared_ptr<Node> node,
                                               std::shared_ptr<const Group> group) {
  std::unique_ptr<Channel> channel(new Channel(std::move(node), std::move(group)));
  Segment& segment = channel->segment();
  const int size = channel->size();
  constexpr auto kControl = static_cast<std::int64_t>(sizeof(Control));
  const std::int64_t stages =
      static_cast<std::int64_t>(kStageSlices) * channel->part_bytes_ * (size + 1);
  channel->memory_ = segment.allocate(kControl + consumed_bytes(size) + stages);
  std::int64_t offset = -1;
  if (channel->memory_ != nullptr) {
    offset = segment.offset_of(channel->memory_);
    // The memory may have been used before. The counters, and everything else here, start at 0.
    std::memset(channel->memory_, 0, static_cast<std::size_t>(kControl + consumed_bytes(size)));
  }
  const Group& members = *channel->group_;
  const Result<std::vector<std::string>> offsets = channel->node_->gather()(
      members, std::string(reinterpret_cast<const char*>(&offset), sizeof offset));
  if (!offsets.ok()) return offsets.status();
  for (int i = 0; i < size; ++i) {
    Member& member = channel->members_[static_cast<std::size_t>(i)];
    const int world_rank = members.ranks[static_cast<std::size_t>(i)];
    std::memcpy(&offset, (*offsets)[static_cast<std::size_t>(i)].data(), sizeof offset);
    member.base = channel->node_->base(world_rank);
    member.bytes = channel->node_->bytes(world_rank);
    std::byte* const memory = channel->address(i, offset, kControl + consumed_bytes(size) + stages);
    if (memory == nullptr) {
      return Status(Code::unsupported,
                    fmt::format("shared memory: rank {} has no {} bytes left for a channel; make "
                                "its arena larger (RINGLEADER_ARENA_BYTES), or do without "
                                "(RINGLEADER_BACKEND=p2p)",
                                world_rank, kControl + stages));
    }
    member.control = std::launder(reinterpret_cast<Control*>(memory));
    member.consumed =
        std::launder(reinterpret_cast<std::atomic<std::uint64_t>*>(memory + kControl));
    member.stages = memory + kControl + consumed_bytes(size);
  }
  return channel;
}

Channel::~Channel() {
  if (memory_ != nullptr) segment().free(memory_);
}

std::byte* Channel::address(int member, std::int64_t offset, std::int64_t bytes) const {
  const Member& m = at(member);
  if (offset < 0 || bytes < 0 || offset > m.bytes || bytes > m.bytes - offset) return nullptr;
  return m.base + offset;
}

bool Channel::may_publish(std::uint64_t batch) {
  if (batch < finished_by_all_ + kSlots) return true;
  finished_by_all_ = batch;
  for (const Member& member : members_) {
    finished_by_all_ =
        std::min(finished_by_all_, member.control->finished.value.load(memory_order_acquire));
  }
  return batch < finished_by_all_ + kSlots;
}

void Channel::publish(std::uint64_t batch) {
  slot(rank(), batch).published.store(batch + 1, memory_order_release);
}

bool Channel::all_published(std::uint64_t batch) {
  return std::all_of(members_.begin(), members_.end(), [&](const Member& member) {
    return member.control->slots[batch % kSlots].published.load(memory_order_acquire) == batch + 1;
  });
}

void Channel::finish(std::uint64_t batch) {
  at(rank()).control->finished.value.store(batch + 1, memory_order_release);
}

bool Channel::all_finished(std::uint64_t batch) const {
  return std::all_of(members_.begin(), members_.end(), [&](const Member& member) {
    return member.control->finished.value.load(memory_order_acquire) > batch;
  });
}

std::byte* Channel::slice(Stage stage, int member, std::uint64_t index) const {
  const Member& m = at(member);
  const auto number = static_cast<std::int64_t>((m.before[stage] + index) % kStageSlices);
  const std::int64_t inputs = part_bytes_ * size();
  if (stage == kInputs) return m.stages + number * inputs;
  return m.stages + static_cast<std::int64_t>(kStageSlices) * inputs + number * part_bytes_;
}

bool Channel::may_fill(Stage stage, std::uint64_t index) const {
  const std::uint64_t number = at(rank()).before[stage] + index;
  for (int other = 0; other < size(); ++other) {
    if (other == rank()) continue;
    const std::uint64_t taken = consumed(stage, other, rank()).load(memory_order_acquire);
    if (number >= taken + kStageSlices) return false;
  }
  return true;
}

void Channel::fill(Stage stage, std::uint64_t index) {
  const Member& own = at(rank());
  note_work();
  own.control->available[stage].value.store(own.before[stage] + index + 1, memory_order_release);
}

bool Channel::filled(Stage stage, int member, std::uint64_t index) const {
  const Member& m = at(member);
  return m.control->available[stage].value.load(memory_order_acquire) > m.before[stage] + index;
}

void Channel::take(Stage stage, int member, std::uint64_t count) {
  note_work();
  consumed(stage, rank(), member).store(at(member).before[stage] + count, memory_order_release);
}

void Channel::end_stage(Stage stage, int member, std::uint64_t count) {
  Member& m = members_[static_cast<std::size_t>(member)];
  if (member != rank()) take(stage, member, count);
  m.before[stage] += count;
}

}  // namespace ringleader::shm
