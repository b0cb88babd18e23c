// SPDX-License-Identifier: Apache-2.0
//
// ProcessThreads: tells whether any thread of this process can still wake another, as the kernel
// sees it.
//
// A thread that waits for a condition variable without a time limit sleeps in a private futex, from
// which only a thread of the same process can wake it (futex(2)). If all threads except those whose
// waits are known sleep this way at the same moment, none of them ever goes on. Threads that
// existed when this object was made are taken for the transport's: they may also sleep until
// something arrives from outside, because that wakes no thread of the program.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace ringleader::runtime {

/// The kernel's id of the calling thread.
int current_thread();

/// Threading: one thread at a time.
class ProcessThreads {
 public:
  ProcessThreads();

  /// True if all threads of the process except `known` sleep for good. Threads of the transport
  /// that are not among `participants` may also sleep until something arrives for them. False if
  /// the kernel does not tell. Takes about 20 us per thread.
  bool sleep_for_good(const std::vector<int>& known, const std::vector<int>& participants) const;

 private:
  /// Per thread: how often it has run. Nothing if one of them may wake others.
  std::optional<std::map<int, std::uint64_t>> sleepers(const std::vector<int>& known,
                                                       const std::vector<int>& participants) const;

  std::vector<int> transport_;
};

}  // namespace ringleader::runtime
