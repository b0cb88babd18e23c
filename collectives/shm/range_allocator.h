// SPDX-License-Identifier: Apache-2.0
//
// RangeAllocator: hands out ranges of one block of bytes. It never touches the bytes themselves.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

namespace ringleader::shm {

/// Threading: one thread at a time.
class RangeAllocator {
 public:
  /// `alignment` is a power of two; offsets are multiples of it.
  RangeAllocator(std::int64_t bytes, std::int64_t alignment);

  /// Allocates at the lowest offset where `bytes` bytes fit; nothing if they fit nowhere.
  std::optional<std::int64_t> allocate(std::int64_t bytes);

  /// Frees a range from allocate(). Returns its size in bytes, rounded up; 0 if the range is not
  /// allocated.
  std::int64_t free(std::int64_t offset);

  std::int64_t bytes_used() const { return used_; }

 private:
  std::int64_t alignment_;
  std::int64_t used_ = 0;
  std::map<std::int64_t, std::int64_t> free_;       ///< offset to bytes; neighbours are merged
  std::map<std::int64_t, std::int64_t> allocated_;  ///< offset to bytes
};

}  // namespace ringleader::shm
