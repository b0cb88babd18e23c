// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/nccl/handles.h>

#include <new>

namespace ringleader::nccl {

namespace {

thread_local bool thread_is_ours = false;

}  // namespace

UseDevice::UseDevice(int device) {
  static_cast<void>(cudaThreadExchangeStreamCaptureMode(&capture_));
  status_ = checked(cudaGetDevice(&before_), "cudaGetDevice");
  if (!status_.ok() || before_ == device) return;
  status_ = checked(cudaSetDevice(device), "cudaSetDevice");
  changed_ = status_.ok();
}

void adopt_thread() { thread_is_ours = true; }

UseDevice::~UseDevice() {
  if (changed_ && !thread_is_ours) static_cast<void>(cudaSetDevice(before_));
  static_cast<void>(cudaThreadExchangeStreamCaptureMode(&capture_));
}

Result<std::shared_ptr<Event>> Event::record(cudaStream_t stream) {
  cudaEvent_t event = nullptr;
  RL_CUDA_RETURN_IF_ERROR(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  std::shared_ptr<Event> owner(new Event(event));
  RL_CUDA_RETURN_IF_ERROR(cudaEventRecord(event, stream));
  return owner;
}

Result<Stream> Stream::create() {
  int least = 0;
  int greatest = 0;
  RL_CUDA_RETURN_IF_ERROR(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  Stream stream;
  RL_CUDA_RETURN_IF_ERROR(
      cudaStreamCreateWithPriority(&stream.stream_, cudaStreamNonBlocking, greatest));
  return stream;
}

Result<StreamBuffer> StreamBuffer::allocate(std::size_t bytes, cudaStream_t stream) {
  StreamBuffer buffer;
  buffer.stream_ = stream;
  if (bytes == 0) return buffer;
  RL_CUDA_RETURN_IF_ERROR(cudaMallocAsync(&buffer.memory_, bytes, stream));
  return buffer;
}

Result<void*> StreamScratch::at_least(std::size_t bytes, cudaStream_t stream) {
  if (bytes > bytes_) {
    // The old buffer is freed once the stream gets this far.
    Result<StreamBuffer> larger = StreamBuffer::allocate(bytes, stream);
    if (!larger.ok()) return larger.status();
    buffer_ = std::move(*larger);
    bytes_ = bytes;
  }
  return buffer_.get();
}

void* PinnedMemory::do_allocate(std::size_t bytes, std::size_t /*alignment*/) {
  void* memory = nullptr;
  if (cudaMallocHost(&memory, bytes) != cudaSuccess) throw std::bad_alloc();
  return memory;
}

void PinnedMemory::do_deallocate(void* memory, std::size_t /*bytes*/, std::size_t /*alignment*/) {
  static_cast<void>(cudaFreeHost(memory));
}

}  // namespace ringleader::nccl
