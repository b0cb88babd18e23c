// SPDX-License-Identifier: Apache-2.0
#include "stream.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <map>
#include <random>
#include <thread>
#include <utility>
#include <vector>

namespace sim_gpu {
namespace {

/// Objects by the handles that the program holds. Never freed: streams run until the process ends.
template <typename T, typename Handle>
class Registry {
 public:
  Handle add(std::shared_ptr<T> object) {
    const std::lock_guard lock(mutex_);
    const auto handle = reinterpret_cast<Handle>(++last_ * 16);  // is no address
    objects_[handle] = std::move(object);
    return handle;
  }
  std::shared_ptr<T> find(Handle handle) {
    const std::lock_guard lock(mutex_);
    return objects_.at(handle);  // throws: a handle that was destroyed
  }
  std::shared_ptr<T> remove(Handle handle) {
    const std::lock_guard lock(mutex_);
    auto object = objects_.at(handle);
    objects_.erase(handle);
    return object;
  }
  std::vector<std::shared_ptr<T>> all() {
    const std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<T>> objects;
    for (const auto& [handle, object] : objects_) objects.push_back(object);
    return objects;
  }

 private:
  std::mutex mutex_;
  std::uintptr_t last_ = 0;
  std::map<Handle, std::shared_ptr<T>> objects_;
};

auto& streams() {
  static auto* const registry = new Registry<Stream, cudaStream_t>;
  return *registry;
}

auto& events() {
  static auto* const registry = new Registry<Event, cudaEvent_t>;
  return *registry;
}

}  // namespace

std::shared_ptr<Stream> Stream::start() {
  static std::atomic<unsigned> started{0};
  auto stream = std::make_shared<Stream>();
  const unsigned seed = static_cast<unsigned>(getpid()) * 1000 + started++;
  std::thread([stream, seed] { stream->run(seed); }).detach();
  return stream;
}

std::shared_ptr<Stream> Stream::of(cudaStream_t handle) {
  if (handle != nullptr) return streams().find(handle);
  static std::mutex mutex;
  static auto* const default_streams = new std::array<std::shared_ptr<Stream>, kDevices>;
  const std::lock_guard lock(mutex);
  auto& stream = (*default_streams)[static_cast<std::size_t>(current_device)];
  if (stream == nullptr) stream = start();
  return stream;
}

cudaStream_t Stream::create() { return streams().add(start()); }

void Stream::destroy(cudaStream_t handle) {
  const auto stream = streams().remove(handle);
  const std::lock_guard lock(stream->mutex_);
  stream->closed_ = true;
  stream->changed_.notify_all();
}

void Stream::wait_for_all() {
  of(nullptr)->wait();
  for (const auto& stream : streams().all()) stream->wait();
}

void Stream::push(Work work) {
  const std::lock_guard lock(mutex_);
  work_.push_back(std::move(work));
  changed_.notify_all();
}

void Stream::wait() const {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return work_.empty(); });
}

bool Stream::idle() const {
  const std::lock_guard lock(mutex_);
  return work_.empty();
}

void Stream::run(unsigned seed) {
  std::minstd_rand random(seed);
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return closed_ || !work_.empty(); });
    if (work_.empty()) return;
    const Work work = work_.front();
    lock.unlock();
    if (random() % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
    work();
    lock.lock();
    work_.pop_front();
    changed_.notify_all();
  }
}

std::shared_ptr<Event> Event::of(cudaEvent_t handle) { return events().find(handle); }

cudaEvent_t Event::create() {
  const auto event = std::make_shared<Event>();
  event->self_ = event;
  return events().add(event);
}

void Event::destroy(cudaEvent_t handle) { events().remove(handle); }

void Event::record(Stream& stream) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t record = ++recorded_;
  stream.push([self = self_.lock(), record] {
    const std::lock_guard reached(self->mutex_);
    self->reached_ = std::max(self->reached_, record);
    self->changed_.notify_all();
  });
}

void Event::wait_in(Stream& stream) {
  const std::lock_guard lock(mutex_);
  stream.push([self = self_.lock(), record = recorded_] { self->wait_for(record); });
}

void Event::wait_for(std::uint64_t record) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return reached_ >= record; });
}

void Event::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this, record = recorded_] { return reached_ >= record; });
}

bool Event::reached() const {
  const std::lock_guard lock(mutex_);
  return reached_ >= recorded_;
}

}  // namespace sim_gpu
