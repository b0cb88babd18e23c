// SPDX-License-Identifier: Apache-2.0
//
// Segment: memory of this process that the other processes of the same user on this node can map.
// Mapping: another process's segment, mapped here.
//
//   auto segment = Segment::create(bytes_max);
//   void* memory = (*segment)->allocate(bytes);        // null: there is none left
//   auto theirs = Mapping::open(identity);             // in the other process
//
// A segment is a memfd: it has no name that could outlive the processes or that another user could
// open, and it does not count against the size of /dev/shm. Other processes open it through
// /proc/<pid>/fd, which the kernel allows only for the same user. Pages are reserved when memory is
// given out, so running out of memory is a return value and not a signal.
#pragma once

#include <ringleader/collectives/shm/range_allocator.h>
#include <ringleader/core/result.h>

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

namespace ringleader::shm {

/// What another process needs to map a segment; plain bytes.
struct Identity {
  pid_t process = 0;
  int file = -1;                ///< descriptor in that process
  std::uint64_t token[2] = {};  ///< random: processes in different containers may share a number
  std::uint64_t device = 0;     ///< with `inode`: checks that it is still the same file
  std::uint64_t inode = 0;
  std::int64_t bytes = 0;     ///< of the whole segment
  std::byte* data = nullptr;  ///< address in that process, for ranks that are threads of it
};

/// Threading: any thread.
class Segment {
 public:
  /// Reserves addresses but no memory; fewer than `bytes_max` if the process may not have so many.
  /// Errors: unsupported if the system does not provide shared memory.
  static Result<std::shared_ptr<Segment>> create(std::int64_t bytes_max);
  ~Segment();
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  /// Memory aligned to a cache line, zeroed when it is given out for the first time; null if the
  /// segment or the system has none left.
  void* allocate(std::int64_t bytes);

  /// Returns false if the memory is not from this segment.
  bool free(void* memory);

  bool contains(const void* memory, std::int64_t bytes) const;
  std::int64_t offset_of(const void* memory) const {
    return static_cast<const std::byte*>(memory) - identity_.data;
  }

  const Identity& identity() const { return identity_; }
  std::int64_t bytes_used() const;

 private:
  explicit Segment(const Identity& identity);

  Identity identity_;
  mutable std::mutex mutex_;
  RangeAllocator ranges_;      ///< guarded by mutex_
  std::int64_t reserved_ = 0;  ///< bytes from the start that have pages: guarded by mutex_
};

/// Move-only.
class Mapping {
 public:
  /// `own` is this process's identity, if it has one. Errors: unsupported if the kernel does not
  /// let this process see the other's files.
  static Result<Mapping> open(const Identity& identity, const Identity* own);
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  std::byte* data() const { return data_; }

 private:
  Mapping(std::byte* data, std::int64_t bytes, bool owned)
      : data_(data), bytes_(bytes), owned_(owned) {}

  std::byte* data_ = nullptr;
  std::int64_t bytes_ = 0;
  bool owned_ = false;
};

}  // namespace ringleader::shm
