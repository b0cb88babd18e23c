// SPDX-License-Identifier: Apache-2.0
//
// Scheduling of a thread that does little work at a time and should do it soon.
#pragma once

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstdint>

namespace ringleader::runtime {

/// Asks the scheduler to let this thread run soon after it wakes, for a short while, even if other
/// threads are computing on its core. Its share of the core does not change. Kernels before 6.12
/// have no such hint and ignore it.
inline void ask_for_short_slices() {
#if defined(__linux__) && defined(SYS_sched_setattr)
  // As in <linux/sched/types.h>, which cannot be included together with <sched.h>.
  struct {
    std::uint32_t size;
    std::uint32_t policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t runtime_ns;
    std::uint64_t deadline_ns;
    std::uint64_t period_ns;
  } attributes = {};
  constexpr std::uint64_t kShortestSlice = 100'000;  // the least that kernels allow
  if (::syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  if (attributes.policy != 0) return;  // the user has chosen another scheduler
  attributes.runtime_ns = kShortestSlice;
  static_cast<void>(::syscall(SYS_sched_setattr, 0, &attributes, 0));
#endif
}

}  // namespace ringleader::runtime
