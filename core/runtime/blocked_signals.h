// SPDX-License-Identifier: Apache-2.0
//
// BlockedSignals: while it lives, the calling thread and the threads that it makes get no signal of
// the program, which then go to the program's threads. Those of a thread's own faults do not ask.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <initializer_list>

namespace ringleader::runtime {

class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS}) {
      sigdelset(&all, fault);
    }
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~BlockedSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace ringleader::runtime
