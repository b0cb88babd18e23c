// SPDX-License-Identifier: Apache-2.0
//
// The functions of CUDA's runtime that the project calls, on streams that are threads.
#include "memory.h"
#include "stream.h"

#include <cuda_runtime_api.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <random>
#include <utility>
#include <vector>

namespace {

using sim_gpu::Event;
using sim_gpu::Stream;

thread_local cudaError_t last_error = cudaSuccess;

cudaError_t done(cudaError_t code = cudaSuccess) {
  if (code != cudaSuccess) last_error = code;
  return code;
}

unsigned chance() {
  thread_local std::minstd_rand random(1);
  return static_cast<unsigned>(random());
}

/// Memory of cudaMallocHost.
std::mutex pinned_mutex;
std::map<const void*, std::size_t>& pinned() {
  static auto* const blocks = new std::map<const void*, std::size_t>;
  return *blocks;
}

bool is_pinned(const void* memory) {
  const std::lock_guard lock(pinned_mutex);
  const auto next = pinned().upper_bound(memory);
  if (next == pinned().begin()) return false;
  const auto& [begin, bytes] = *std::prev(next);
  return static_cast<const std::byte*>(memory) < static_cast<const std::byte*>(begin) + bytes;
}

/// With ordinary memory it may wait for all that is in the stream, or take a copy and go on.
cudaError_t copy(void* to, const void* from, std::size_t bytes, cudaStream_t handle) {
  if (bytes == 0) return cudaSuccess;
  const bool to_device = sim_gpu::is_device_memory(to, bytes);
  const bool from_device = sim_gpu::is_device_memory(from, bytes);
  const auto stream = Stream::of(handle);
  if (!to_device && !from_device) return done(cudaErrorInvalidValue);
  const bool stages = to_device && !from_device && !is_pinned(from) && chance() % 2 == 0;
  if (stages) {
    const auto* const source = static_cast<const std::byte*>(from);
    stream->push([to, staged = std::vector<std::byte>(source, source + bytes)] {
      std::memcpy(to, staged.data(), staged.size());
    });
    return cudaSuccess;
  }
  stream->push([=] { std::memcpy(to, from, bytes); });
  if ((!to_device && !is_pinned(to)) || (!from_device && !is_pinned(from))) stream->wait();
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = sim_gpu::kDevices;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = sim_gpu::current_device;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= sim_gpu::kDevices) return done(cudaErrorInvalidDevice);
  sim_gpu::current_device = device;
  return cudaSuccess;
}

/// The devices of a process are its own, unless all processes share one.
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  *properties = {};
  std::strcpy(properties->name, "simulated GPU");
  std::array<int, 2> uuid = {static_cast<int>(getpid()), device};
  if (std::getenv("SIM_GPU_SHARED") != nullptr) uuid = {};
  std::memcpy(properties->uuid.bytes, uuid.data(), sizeof uuid);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  Stream::wait_for_all();
  return cudaSuccess;
}

const char* cudaGetErrorName(cudaError_t code) {
  return code == cudaSuccess ? "cudaSuccess" : "an error of the simulated GPU";
}
const char* cudaGetErrorString(cudaError_t code) { return cudaGetErrorName(code); }
cudaError_t cudaPeekAtLastError() { return last_error; }
cudaError_t cudaGetLastError() {
  const cudaError_t last = last_error;
  last_error = cudaSuccess;
  return last;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if (flags != cudaStreamNonBlocking) return done(cudaErrorNotSupported);
  *stream = Stream::create();
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  Stream::destroy(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  thread_local cudaStreamCaptureMode current = cudaStreamCaptureModeGlobal;
  std::swap(*mode, current);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Stream::of(stream)->wait();
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  Event::of(event)->wait_in(*Stream::of(stream));
  return cudaSuccess;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  Stream::of(stream)->push([=] { function(data); });
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = Event::create();
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return cudaEventCreate(event);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  Event::destroy(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const auto target = Stream::of(stream);
  if (Event::of(event)->device() != target->device()) return done(cudaErrorInvalidResourceHandle);
  Event::of(event)->record(*target);
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  return done(Event::of(event)->reached() ? cudaSuccess : cudaErrorNotReady);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  Event::of(event)->wait();
  return cudaSuccess;
}
/// Nothing is measured here.
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 1;
  return cudaSuccess;
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  *memory = sim_gpu::reserve(bytes);
  sim_gpu::open(*memory);
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  Stream::wait_for_all();
  sim_gpu::close(memory);
  return cudaSuccess;
}
cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t stream) {
  *memory = sim_gpu::reserve(bytes);
  Stream::of(stream)->push([block = *memory] { sim_gpu::open(block); });
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  Stream::of(stream)->push([=] { sim_gpu::close(memory); });
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  *memory = std::malloc(bytes);
  const std::lock_guard lock(pinned_mutex);
  pinned()[*memory] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) {
  Stream::wait_for_all();
  const std::lock_guard lock(pinned_mutex);
  pinned().erase(memory);
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  return copy(to, from, bytes, stream);
}
cudaError_t cudaMemset(void* memory, int value, std::size_t bytes) {
  return cudaMemsetAsync(memory, value, bytes, nullptr);
}
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  if (!sim_gpu::is_device_memory(memory, bytes)) return done(cudaErrorInvalidValue);
  Stream::of(stream)->push([=] { std::memset(memory, value, bytes); });
  return cudaSuccess;
}

}  // extern "C"
