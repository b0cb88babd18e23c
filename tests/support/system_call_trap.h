// SPDX-License-Identifier: Apache-2.0
//
// SystemCallTrap: notices the first system call of a thread, by the kernel's syscall user dispatch
// (Linux 5.11), and lets it pass.
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <ucontext.h>

#include <cstddef>

namespace ringleader {

/// Threading: one at a time in the process, and it watches the thread that made it.
class SystemCallTrap {
 public:
  SystemCallTrap() {
    caught_ = -1;
    selector_ = kAllow;
    struct sigaction action = {};
    action.sa_sigaction = on_system_call;
    action.sa_flags = SA_SIGINFO;
    ::sigaction(SIGSYS, &action, &before_);
    works_ = kHasSyscallInstruction && ::prctl(kSetDispatch, 1, 0, 0, &selector_) == 0;
    if (works_) selector_ = kBlock;
  }
  ~SystemCallTrap() {
    selector_ = kAllow;
    if (works_) ::prctl(kSetDispatch, 0, 0, 0, 0);
    ::sigaction(SIGSYS, &before_, nullptr);
  }
  SystemCallTrap(const SystemCallTrap&) = delete;
  SystemCallTrap& operator=(const SystemCallTrap&) = delete;

  /// False where the kernel or the processor does not have it.
  bool works() const { return works_; }

  /// The number of the first system call since this was made; -1 if there was none.
  int caught() const { return caught_; }

 private:
  // Of <linux/prctl.h>, which older systems have without these.
  static constexpr int kSetDispatch = 59;  // PR_SET_SYSCALL_USER_DISPATCH
  static constexpr char kAllow = 0;
  static constexpr char kBlock = 1;
#if defined(__x86_64__)
  static constexpr bool kHasSyscallInstruction = true;
#else
  static constexpr bool kHasSyscallInstruction = false;
#endif

  static void on_system_call(int, siginfo_t* info, [[maybe_unused]] void* context) {
    selector_ = kAllow;  // also for the system call by which this handler returns
    caught_ = info->si_syscall;
#if defined(__x86_64__)
    constexpr std::size_t kInstructionBytes = 2;
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP] -= kInstructionBytes;
#endif
  }

  static inline volatile char selector_ = kAllow;
  static inline volatile int caught_ = -1;
  struct sigaction before_ = {};
  bool works_ = false;
};

}  // namespace ringleader
