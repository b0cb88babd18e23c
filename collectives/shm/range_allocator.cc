// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/shm/range_allocator.h>

#include <algorithm>
#include <iterator>

namespace ringleader::shm {

RangeAllocator::RangeAllocator(std::int64_t bytes, std::int64_t alignment) : alignment_(alignment) {
  free_[0] = bytes / alignment * alignment;
}

std::optional<std::int64_t> RangeAllocator::allocate(std::int64_t bytes) {
  const std::int64_t wanted = (std::max<std::int64_t>(bytes, 1) + alignment_ - 1) & -alignment_;
  const auto found = std::find_if(free_.begin(), free_.end(),
                                  [&](const auto& range) { return range.second >= wanted; });
  if (found == free_.end()) return std::nullopt;
  const auto [offset, size] = *found;
  free_.erase(found);
  if (size > wanted) free_[offset + wanted] = size - wanted;
  allocated_[offset] = wanted;
  used_ += wanted;
  return offset;
}

std::int64_t RangeAllocator::free(std::int64_t offset) {
  const auto found = allocated_.find(offset);
  if (found == allocated_.end()) return 0;
  const std::int64_t bytes = found->second;
  allocated_.erase(found);
  used_ -= bytes;
  auto range = free_.emplace(offset, bytes).first;
  if (const auto next = std::next(range);
      next != free_.end() && next->first == offset + range->second) {
    range->second += next->second;
    free_.erase(next);
  }
  if (range == free_.begin()) return bytes;
  const auto previous = std::prev(range);
  if (previous->first + previous->second == offset) {
    previous->second += range->second;
    free_.erase(range);
  }
  return bytes;
}

}  // namespace ringleader::shm
