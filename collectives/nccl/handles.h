// SPDX-License-Identifier: Apache-2.0
//
// Owners of CUDA's handles and memory. Their destructors do not wait for the device.
#pragma once

#include <ringleader/collectives/nccl/checked.h>
#include <ringleader/core/result.h>
#include <ringleader/core/runtime/device.h>

#include <cstddef>
#include <memory>
#include <memory_resource>
#include <utility>

namespace ringleader::nccl {

/// Makes a device current. On the user's threads, the previous device becomes current again when
/// this object is destroyed. On the library's threads the device stays current: making the first
/// device current again would begin to use it.
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
  /// Our calls must not break the graph that a program captures in another thread.
  cudaStreamCaptureMode capture_ = cudaStreamCaptureModeRelaxed;
  Status status_;
};

/// Declares the calling thread to be the library's.
void adopt_thread();

/// A point in a stream. Threading: constant once it has been recorded.
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

/// Owns a stream, which goes before others if the device is contended.
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

/// Device memory whose lifetime is ordered by a stream: it may be released while work in the stream
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

/// Reusable memory for the work of one stream. It grows when needed.
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
