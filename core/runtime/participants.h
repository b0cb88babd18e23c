// SPDX-License-Identifier: Apache-2.0
//
// Participants: the program's threads that use a runtime, and what each waits for. From this the
// runtime can tell when nothing new will be submitted before something completes.
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

/// Threading: any thread may call any member function; only one at a time may call awaited().
class Participants {
  struct Member;
  class Membership;

 public:
  Participants();
  ~Participants();
  Participants(const Participants&) = delete;
  Participants& operator=(const Participants&) = delete;

  /// The calling thread submits or waits. It takes part until it ends. A thread that alternates
  /// between several runtimes takes part in the one that it used last.
  void note();

  /// The calling thread is the library's own: it never keeps the others from counting as waiting.
  void note_own_thread();

  /// What a thread waits for; default-constructed while it does not wait.
  struct Wait {
    const Operation* operation = nullptr;  ///< null: nothing that a report could name
    const std::function<bool()>* finished = nullptr;
  };

  /// The calling thread waits while this object exists. A completion callback may run while the
  /// same thread waits; inside the callback, only the inner wait counts.
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

  /// While this object exists, the calling thread runs the program's code, a completion callback,
  /// whatever it waited for before and even if it is the library's own.
  class Working {
   public:
    explicit Working(Participants& all);
    ~Working();
    Working(const Working&) = delete;
    Working& operator=(const Working&) = delete;

   private:
    bool joined_;  ///< takes part only for this
    Member* member_;
    Wait before_;
  };

  /// For each thread that takes part, the operation it waits for; empty if some thread does not
  /// wait. A thread that sleeps until another thread of the process wakes it is left out while no
  /// thread could wake it (see thread_state.h). A token's operation may have completed by now.
  /// Valid until the next call.
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
