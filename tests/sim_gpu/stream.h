// SPDX-License-Identifier: Apache-2.0
//
// Streams of the simulated GPU: threads that do what was put into them, in order and now and then
// late.
#pragma once

#include <cuda_runtime_api.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace sim_gpu {

using Work = std::function<void()>;

/// Each process has so many devices. Work belongs to the device that is current in its thread.
constexpr int kDevices = 4;
inline thread_local int current_device = 0;

/// Threading: any.
class Stream {
 public:
  /// The stream behind a handle; 0 is the default stream.
  static std::shared_ptr<Stream> of(cudaStream_t handle);
  static cudaStream_t create();
  static void destroy(cudaStream_t handle);  ///< when it has done what is in it

  /// Waits until no stream has anything left to do.
  static void wait_for_all();

  void push(Work work);
  void wait() const;  ///< until nothing is left to do
  bool idle() const;
  int device() const { return device_; }

 private:
  static std::shared_ptr<Stream> start();
  void run(unsigned seed);

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::deque<Work> work_;  ///< the first is being done
  bool closed_ = false;
  int device_ = current_device;
};

/// How often it was recorded, and how many of those records have been reached.
class Event {
 public:
  static std::shared_ptr<Event> of(cudaEvent_t handle);
  static cudaEvent_t create();
  static void destroy(cudaEvent_t handle);

  void record(Stream& stream);
  void wait_in(Stream& stream);
  void wait();
  bool reached() const;
  int device() const { return device_; }

 private:
  void wait_for(std::uint64_t record);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t recorded_ = 0;
  std::uint64_t reached_ = 0;
  int device_ = current_device;
  std::weak_ptr<Event> self_;
};

}  // namespace sim_gpu
