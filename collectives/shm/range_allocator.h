// SPDX-License-Identifier: Apache-2.0
//
// RangeAllocator: gives out ranges of a long row of bytes; it never touches the bytes themselves.
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

  /// The lowest offset where `bytes` fit; nothing if they fit nowhere.
  std::optional<std::int64_t> allocate(std::int64_t bytes);

  /// Takes back what allocate() gave; returns its bytes, rounded up. 0: it was not given out.
  std::int64_t free(std::int64_t offset);

  std::int64_t bytes_used() const { return used_; }

 private:
  std::int64_t alignment_;
  std::int64_t used_ = 0;
  std::map<std::int64_t, std::int64_t> free_;       ///< offset to bytes; neighbours are merged
  std::map<std::int64_t, std::int64_t> allocated_;  ///< offset to bytes
};

}  // namespace ringleader::shm
