// SPDX-License-Identifier: Apache-2.0
//
// Participants: the threads of the program that use a runtime, and what each waits for, so that it
// can tell when nothing new will be submitted before something completes.
//
//   participants.note();                                          // this thread takes part
//   const Participants::Waiting waiting(participants, ...);       // and waits, while this lives
//   const std::vector<Token>& awaited = participants.awaited();   // empty: some thread may go on
#pragma once

#include <ringleader/core/protocol/plan_state.h>
#include <ringleader/core/runtime/operation.h>
#include <ringleader/core/runtime/thread_state.h>

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace ringleader::runtime {

/// Threading: all members may be called from any thread; awaited() by one at a time.
class Participants {
  struct Member;
  class Membership;

 public:
  Participants();
  ~Participants();
  Participants(const Participants&) = delete;
  Participants& operator=(const Participants&) = delete;

  /// The calling thread submits or waits. It takes part until it ends. A thread that uses several
  /// runtimes by turns takes part in the one that it used last.
  void note();

  /// The calling thread is the library's own: it never keeps others from waiting.
  void note_own_thread();

  /// What a thread waits for, or works on meanwhile.
  struct Wait {
    const Operation* operation = nullptr;  ///< null: nothing that a report could name
    const std::function<bool()>* finished = nullptr;
  };

  /// The calling thread waits while this object lives. Within a completion callback, which may run
  /// while the same thread waits, what counts is the wait inside.
  class Waiting {
   public:
    Waiting(Participants& all, const Wait& wait);
    ~Waiting();
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

   private:
    Member* member_;
    Wait before_;
  };

  /// The calling thread runs the program's code, a completion callback, while this object lives,
  /// whatever it waited for before and even if it is the library's own.
  class Working {
   public:
    explicit Working(Participants& all);
    ~Working();
    Working(const Working&) = delete;
    Working& operator=(const Working&) = delete;

   private:
    bool joined_;  ///< only for this
    Member* member_;
    Wait before_;
  };

  /// For each thread that takes part, the operation that it waits for; empty if one does not wait.
  /// A thread that sleeps until another thread of the process wakes it is left out while no thread
  /// could (see thread_state.h). What a token stands for may have completed by now. Valid until the
  /// next call.
  const std::vector<protocol::Token>& awaited();

 private:
  static Membership& membership();
  Member& member();
  bool look();
  bool sleep_for_good(const std::vector<int>& threads, const std::vector<protocol::Token>& awaited);

  std::mutex mutex_;
  std::vector<std::shared_ptr<Member>> members_;
  std::vector<int> own_threads_;
  ProcessThreads threads_;
  std::vector<protocol::Token> awaited_;
  std::vector<int> asleep_;                      ///< threads that wait for nothing of ours, or work
  std::vector<protocol::Token> awaited_before_;  ///< while some thread sleeps
  std::int64_t awaited_since_ = 0;
};

}  // namespace ringleader::runtime
