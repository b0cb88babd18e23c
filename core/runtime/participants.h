// SPDX-License-Identifier: Apache-2.0
//
// Participants: the threads of the program that use a runtime, so that it can tell when all of them
// wait: then nothing new will be submitted before something completes.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace ringleader::runtime {

/// A thread that uses several runtimes by turns takes part in the one that it used last.
class Participants {
 public:
  /// The calling thread submits or waits. It counts until it ends.
  void note() {
    thread_local Membership membership;
    if (membership.threads == threads_) return;
    membership = Membership(threads_);
  }

  /// The calling thread waits while this object lives. Waiting inside a completion callback, which
  /// may run while the same thread waits, counts once.
  class Waiting {
   public:
    explicit Waiting(Participants& all) : all_(all) {
      all_.note();
      if (depth()++ == 0) ++all_.waiting_;
    }
    ~Waiting() {
      if (--depth() == 0) --all_.waiting_;
    }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

   private:
    static int& depth() {
      thread_local int value = 0;
      return value;
    }
    Participants& all_;
  };

  bool all_wait() const {
    const int waiting = waiting_;
    return waiting > 0 && waiting >= *threads_;
  }

 private:
  using Count = std::shared_ptr<std::atomic<int>>;

  struct Membership {
    Membership() = default;
    explicit Membership(Count count) : threads(std::move(count)) { ++*threads; }
    Membership(Membership&& other) noexcept : threads(std::move(other.threads)) {}
    Membership& operator=(Membership&& other) noexcept {
      threads.swap(other.threads);
      return *this;
    }
    ~Membership() {
      if (threads) --*threads;
    }
    Count threads;
  };

  Count threads_ = std::make_shared<std::atomic<int>>(0);
  std::atomic<int> waiting_{0};
};

}  // namespace ringleader::runtime
