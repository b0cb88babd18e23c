// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/shm/collective.h>

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

namespace ringleader::shm {

Collective::~Collective() {
  if (list_ != nullptr) channel_.segment().free(list_);
}

std::int64_t Collective::offset_of(const void* memory, std::int64_t memory_bytes) const {
  const Segment& segment = channel_.segment();
  return segment.contains(memory, memory_bytes) ? segment.offset_of(memory) : -1;
}

bool Collective::put_list(Slot& slot, const List<std::int64_t>& offsets) {
  Segment& segment = channel_.segment();
  void* memory = slot.list.data();
  if (offsets.size() > kListInSlot) {
    list_ = segment.allocate(static_cast<std::int64_t>(offsets.size() * sizeof offsets[0]));
    if (list_ == nullptr) return false;
    memory = list_;
  }
  if (!offsets.empty()) std::memcpy(memory, offsets.data(), offsets.size() * sizeof offsets[0]);
  slot.entries = segment.offset_of(memory);
  slot.entries_count = static_cast<std::int32_t>(offsets.size());
  return true;
}

Status Collective::read_list(int member, List<std::int64_t>& offsets) const {
  const Slot& slot = slot_of(member);
  const auto entries = static_cast<std::size_t>(std::max(slot.entries_count, 0));
  const auto list_bytes = static_cast<std::int64_t>(entries * sizeof(std::int64_t));
  const std::byte* const list = channel_.address(member, slot.entries, list_bytes);
  if (list == nullptr) {
    return Status(
        Code::bad_message,
        fmt::format("shared memory: member {} published a list outside its segment", member));
  }
  offsets.resize(entries);
  if (list_bytes > 0) std::memcpy(offsets.data(), list, static_cast<std::size_t>(list_bytes));
  return Status();
}

}  // namespace ringleader::shm
