// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/kernels/staging.h>

#include <ringleader/collectives/kernels/pieces.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace ringleader::kernels {
namespace {

/// Bytes that one poll copies: some tens of microseconds, during which nothing else advances.
constexpr std::int64_t kPieceBytes = 256 << 10;

/// A pool keeps at most this many bytes: what a few fused batches of the default size need.
constexpr std::int64_t kBytesKeptMax = 64 << 20;

}  // namespace

BufferPool::BufferPool()
    : BufferPool([](std::int64_t bytes) {
        return Memory(new std::byte[static_cast<std::size_t>(bytes)],
                      std::default_delete<std::byte[]>());
      }) {}

BufferPool::Buffer& BufferPool::Buffer::operator=(Buffer&& other) noexcept {
  if (this == &other) return *this;
  release();
  pool_ = std::exchange(other.pool_, nullptr);
  memory_ = std::move(other.memory_);
  bytes_ = other.bytes_;
  return *this;
}

void BufferPool::Buffer::release() {
  if (pool_ == nullptr || memory_ == nullptr) return;
  pool_->bytes_kept_ += bytes_;
  pool_->kept_.push_back({std::move(memory_), bytes_});
  while (pool_->bytes_kept_ > kBytesKeptMax) {
    pool_->bytes_kept_ -= pool_->kept_.front().bytes;
    pool_->kept_.erase(pool_->kept_.begin());
  }
}

BufferPool::Buffer BufferPool::take(std::int64_t bytes) {
  Buffer buffer;
  buffer.pool_ = this;
  // Sizes are powers of two, so that batches of nearly the same size share buffers. The buffer
  // returned last comes first: it may still be in the cache.
  buffer.bytes_ = static_cast<std::int64_t>(
      std::bit_ceil(static_cast<std::uint64_t>(std::max<std::int64_t>(bytes, 64))));
  const auto found = std::find_if(kept_.rbegin(), kept_.rend(),
                                  [&](const Kept& kept) { return kept.bytes == buffer.bytes_; });
  if (found == kept_.rend()) {
    buffer.memory_ = allocate_(buffer.bytes_);
    return buffer;
  }
  buffer.memory_ = std::move(found->memory);
  bytes_kept_ -= buffer.bytes_;
  kept_.erase(std::next(found).base());
  return buffer;
}

StagedBatch::StagedBatch(const Batch& batch, BufferPool& pool)
    : batch_(&batch), count_(batch.count()) {
  if (batch.tensors.size() == 1) {
    input_ = static_cast<const std::byte*>(batch.tensors[0].input);
    output_ = static_cast<std::byte*>(batch.tensors[0].output);
    packed_ = unpacked_ = count_;
    return;
  }
  buffer_ = pool.take(count_ * static_cast<std::int64_t>(size_of(batch.dtype)));
  input_ = output_ = buffer_.get();
}

bool StagedBatch::pack_some() {
  const std::int64_t piece = kPieceBytes / static_cast<std::int64_t>(size_of(batch_->dtype));
  const std::int64_t end = std::min(packed_ + piece, count_);
  if (packed_ < end) pack(*batch_, packed_, end, at(buffer_.get(), packed_, batch_->dtype));
  packed_ = end;
  return packed_ == count_;
}

bool StagedBatch::unpack_some() {
  const std::int64_t piece = kPieceBytes / static_cast<std::int64_t>(size_of(batch_->dtype));
  const std::int64_t end = std::min(unpacked_ + piece, count_);
  if (unpacked_ < end) unpack(*batch_, unpacked_, end, at(buffer_.get(), unpacked_, batch_->dtype));
  unpacked_ = end;
  return unpacked_ == count_;
}

}  // namespace ringleader::kernels
