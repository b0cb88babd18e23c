// SPDX-License-Identifier: Apache-2.0
//
// Watchdog: ends a test program that hangs, and says in which operation.
//
//   Watchdog watchdog(std::chrono::seconds(60));
//   watchdog.enter("allreduce f32 sum 1 Mi");
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>

namespace ringleader::test {

class Watchdog {
 public:
  explicit Watchdog(std::chrono::seconds limit) : limit_(limit), thread_([this] { watch(); }) {}

  ~Watchdog() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
      changed_.notify_one();
    }
    thread_.join();
  }

  /// Restarts the clock for the next operation.
  void enter(std::string operation) {
    const std::lock_guard lock(mutex_);
    operation_ = std::move(operation);
    ++generation_;
    changed_.notify_one();
  }

 private:
  void watch() {
    std::unique_lock lock(mutex_);
    while (!stop_) {
      const int seen = generation_;
      const bool alive =
          changed_.wait_for(lock, limit_, [&] { return stop_ || generation_ != seen; });
      if (alive) continue;
      std::fprintf(stderr, "watchdog: no progress for %lld s in: %s\n",
                   static_cast<long long>(limit_.count()), operation_.c_str());
      std::abort();
    }
  }

  std::chrono::seconds limit_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string operation_ = "start";
  int generation_ = 0;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace ringleader::test
