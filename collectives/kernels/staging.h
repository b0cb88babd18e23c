// SPDX-License-Identifier: Apache-2.0
//
// Contiguous memory for batches.
//
//   BufferPool    keeps buffers for later batches, so that a step that resembles the previous one
//                 allocates nothing and touches no fresh pages
//   StagedBatch   a batch in one piece of memory: its only tensor's, or a buffer. Its tensors are
//                 copied to the buffer, and its results back, in pieces of bounded size
#pragma once

#include <ringleader/core/batch.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace ringleader::kernels {

/// Threading: one thread at a time.
class BufferPool {
 public:
  using Memory = std::shared_ptr<std::byte>;
  using Allocate = std::function<Memory(std::int64_t bytes)>;

  /// Allocates from the heap, or with `allocate`.
  BufferPool();
  explicit BufferPool(Allocate allocate) : allocate_(std::move(allocate)) {}

  /// A buffer from take(). It returns to the pool when it is destroyed; the pool must outlive it.
  class Buffer {
   public:
    Buffer() = default;
    Buffer(Buffer&& other) noexcept { *this = std::move(other); }
    Buffer& operator=(Buffer&& other) noexcept;
    ~Buffer() { release(); }

    std::byte* get() const { return memory_.get(); }
    bool empty() const { return memory_ == nullptr; }

   private:
    friend class BufferPool;
    void release();

    BufferPool* pool_ = nullptr;
    Memory memory_;
    std::int64_t bytes_ = 0;
  };

  /// Returns at least `bytes` bytes with arbitrary contents.
  Buffer take(std::int64_t bytes);

 private:
  struct Kept {
    Memory memory;
    std::int64_t bytes = 0;
  };

  Allocate allocate_;
  std::vector<Kept> kept_;  ///< the one returned last is at the end
  std::int64_t bytes_kept_ = 0;
};

class StagedBatch {
 public:
  StagedBatch() = default;

  /// `batch` must outlive this object.
  StagedBatch(const Batch& batch, BufferPool& pool);

  const std::byte* input() const { return input_; }
  std::byte* output() const { return output_; }

  /// Copies a piece of the tensors to the buffer. Returns true once all of them are there.
  bool pack_some();

  /// Copies a piece of the results back. Returns true once all tensors have theirs.
  bool unpack_some();

 private:
  const Batch* batch_ = nullptr;
  BufferPool::Buffer buffer_;  ///< empty if the memory is a tensor's
  const std::byte* input_ = nullptr;
  std::byte* output_ = nullptr;
  std::int64_t count_ = 0;
  std::int64_t packed_ = 0;    ///< elements
  std::int64_t unpacked_ = 0;  ///< elements
};

}  // namespace ringleader::kernels
