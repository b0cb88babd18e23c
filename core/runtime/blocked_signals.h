// SPDX-License-Identifier: Apache-2.0
//
// BlockedSignals: while it exists, the calling thread and the threads it creates get none of the
// program's signals, which go to the program's threads instead. The signals of a thread's own
// faults are not blocked.
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
