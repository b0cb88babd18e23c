// SPDX-License-Identifier: Apache-2.0
//
// Memory for batches that travel in one piece.
//
//   BufferPool    buffers that are kept for the batches that follow, so that a step which resembles
//                 the one before allocates nothing and touches no fresh pages
//   StagedBatch   a batch in one piece of memory: that of its only tensor, or a buffer to which its
//                 tensors are copied, and from which its results, in pieces of bounded size
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

  /// From the heap, or from `allocate`.
  BufferPool();
  explicit BufferPool(Allocate allocate) : allocate_(std::move(allocate)) {}

  /// What take() gives; it returns to the pool, which outlives it, when it is destroyed.
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

  /// At least `bytes` bytes; their contents are arbitrary.
  Buffer take(std::int64_t bytes);

 private:
  struct Kept {
    Memory memory;
    std::int64_t bytes = 0;
  };

  Allocate allocate_;
  std::vector<Kept> kept_;  ///< the one that was returned last at the end
  std::int64_t bytes_kept_ = 0;
};

class StagedBatch {
 public:
  StagedBatch() = default;

  /// `batch` outlives this object.
  StagedBatch(const Batch& batch, BufferPool& pool);

  const std::byte* input() const { return input_; }
  std::byte* output() const { return output_; }

  /// Copies a piece of the tensors to the buffer; true once all of them are there.
  bool pack_some();

  /// Copies a piece of the results back; true once all tensors have theirs.
  bool unpack_some();

 private:
  const Batch* batch_ = nullptr;
  BufferPool::Buffer buffer_;  ///< empty: the memory is a tensor's
  const std::byte* input_ = nullptr;
  std::byte* output_ = nullptr;
  std::int64_t count_ = 0;
  std::int64_t packed_ = 0;    ///< elements
  std::int64_t unpacked_ = 0;  ///< elements
};

}  // namespace ringleader::kernels
