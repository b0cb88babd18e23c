// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/runtime/thread_state.h>

#include <dirent.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

namespace ringleader::runtime {
namespace {

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

File open_file(int thread, const char* name) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/task/%d/%s", thread, name);
  return {std::fopen(path, "re"), std::fclose};
}

std::vector<int> threads_of_process() {
  std::vector<int> threads;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc/self/task"), ::closedir);
  if (folder == nullptr) return threads;
  while (const dirent* const entry = ::readdir(folder.get())) {
    if (const int thread = std::atoi(entry->d_name); thread > 0) threads.push_back(thread);
  }
  return threads;
}

/// What the thread sleeps for: another thread of this process, or something from outside.
enum class Sleep { none, for_a_thread, for_events };

Sleep sleep_of(int thread) {
  const File file = open_file(thread, "syscall");
  if (file == nullptr) return Sleep::none;
  long number = -1;
  unsigned long arguments[4] = {};
  const int read = std::fscanf(file.get(), "%ld %lx %lx %lx %lx", &number, &arguments[0],
                               &arguments[1], &arguments[2], &arguments[3]);
  if (read != 5) return Sleep::none;
  for (const long events : {SYS_epoll_pwait, SYS_ppoll, SYS_pselect6
#ifdef SYS_epoll_wait
                            ,
                            SYS_epoll_wait, SYS_poll, SYS_select
#endif
       }) {
    if (number == events) return Sleep::for_events;
  }
  if (number != SYS_futex) return Sleep::none;
  const unsigned long operation = arguments[1] & FUTEX_CMD_MASK;
  const bool waits = operation == FUTEX_WAIT || operation == FUTEX_WAIT_BITSET;
  const bool for_good = waits && (arguments[1] & FUTEX_PRIVATE_FLAG) != 0 && arguments[3] == 0;
  return for_good ? Sleep::for_a_thread : Sleep::none;
}

/// How many context switches the thread has had.
std::optional<std::uint64_t> switches_of(int thread) {
  const File file = open_file(thread, "status");
  if (file == nullptr) return std::nullopt;
  std::uint64_t total = 0;
  int found = 0;
  char line[256];
  while (std::fgets(line, sizeof line, file.get()) != nullptr) {
    const char* const count = std::strstr(line, "ctxt_switches:");
    if (count == nullptr) continue;
    total += std::strtoull(count + std::strlen("ctxt_switches:"), nullptr, 10);
    ++found;
  }
  if (found != 2) return std::nullopt;
  return total;
}

}  // namespace

int current_thread() { return static_cast<int>(::syscall(SYS_gettid)); }

ProcessThreads::ProcessThreads() : transport_(threads_of_process()) {
  std::erase(transport_, current_thread());
}

std::optional<std::map<int, std::uint64_t>> ProcessThreads::sleepers(
    const std::vector<int>& known, const std::vector<int>& participants) const {
  const auto among = [](const std::vector<int>& threads, int thread) {
    return std::find(threads.begin(), threads.end(), thread) != threads.end();
  };
  std::map<int, std::uint64_t> all;
  const std::vector<int> threads = threads_of_process();
  if (threads.empty()) return std::nullopt;
  for (const int thread : threads) {
    if (among(known, thread)) continue;
    const bool may_get_events = among(transport_, thread) && !among(participants, thread);
    const std::optional<std::uint64_t> switches = switches_of(thread);
    const Sleep sleep = sleep_of(thread);
    const bool sleeps =
        sleep == Sleep::for_a_thread || (may_get_events && sleep == Sleep::for_events);
    if (!switches || !sleeps) return std::nullopt;
    all[thread] = *switches;
  }
  return all;
}

/// Looks twice. If no thread ran in between, all slept at the same moment.
bool ProcessThreads::sleep_for_good(const std::vector<int>& known,
                                    const std::vector<int>& participants) const {
  const auto first = sleepers(known, participants);
  return first && first == sleepers(known, participants);
}

}  // namespace ringleader::runtime
