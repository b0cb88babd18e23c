// SPDX-License-Identifier: Apache-2.0
//
// Owners of what CUDA gives out. Their destructors do not wait for the device.
#pragma once

#include <ringleader/collectives/nccl/checked.h>
#include <ringleader/core/result.h>
#include <ringleader/core/runtime/device.h>

#include <cstddef>
#include <memory>
#include <memory_resource>
#include <utility>

namespace ringleader::nccl {

/// Makes a device current, and on the user's threads the one before when it ends. On the library's
/// it stays: making the first device current again would begin to use it.
class UseDevice {
 public:
  explicit UseDevice(int device);
  ~UseDevice();
  UseDevice(const UseDevice&) = delete;
  UseDevice& operator=(const UseDevice&) = delete;

  const Status& status() const { return status_; }

 private:
  int before_ = 0;
  bool changed_ = false;
  /// A program that captures a graph in another thread must not find that our calls broke it.
  cudaStreamCaptureMode capture_ = cudaStreamCaptureModeRelaxed;
  Status status_;
};

/// The calling thread is the library's.
void adopt_thread();

/// A point in a stream. Threading: constant after it was recorded.
class Event : public DeviceEvent {
 public:
  static Result<std::shared_ptr<Event>> record(cudaStream_t stream);
  ~Event() override { static_cast<void>(cudaEventDestroy(event_)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  cudaEvent_t get() const { return event_; }

 private:
  explicit Event(cudaEvent_t event) : event_(event) {}
  cudaEvent_t event_;
};

/// A stream of its own, before others where the device is contended.
class Stream {
 public:
  static Result<Stream> create();
  Stream() = default;
  Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
  Stream& operator=(Stream&& other) noexcept {
    std::swap(stream_, other.stream_);
    return *this;
  }
  ~Stream() {
    if (stream_ != nullptr) static_cast<void>(cudaStreamDestroy(stream_));
  }

  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

/// Device memory whose life is ordered by a stream: it may be released while work of the stream
/// still uses it.
class StreamBuffer {
 public:
  static Result<StreamBuffer> allocate(std::size_t bytes, cudaStream_t stream);
  StreamBuffer() = default;
  StreamBuffer(StreamBuffer&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)), stream_(other.stream_) {}
  StreamBuffer& operator=(StreamBuffer&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(stream_, other.stream_);
    return *this;
  }
  ~StreamBuffer() {
    if (memory_ != nullptr) static_cast<void>(cudaFreeAsync(memory_, stream_));
  }

  void* get() const { return memory_; }

 private:
  void* memory_ = nullptr;
  cudaStream_t stream_ = nullptr;
};

/// Memory for the work of one stream that is used again and again, and grows when it has to.
class StreamScratch {
 public:
  /// Valid for work that is enqueued before the next call.
  Result<void*> at_least(std::size_t bytes, cudaStream_t stream);

 private:
  StreamBuffer buffer_;
  std::size_t bytes_ = 0;
};

/// Host memory that the device reads while the host goes on.
class PinnedMemory : public std::pmr::memory_resource {
 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override;
  void do_deallocate(void* memory, std::size_t bytes, std::size_t alignment) override;
  bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }
};

}  // namespace ringleader::nccl
