// SPDX-License-Identifier: Apache-2.0
//
// A signal handler may do very little (POSIX.1, async-signal-safe functions). Everything it needs
// is prepared beforehand, and it only opens, writes and closes.
#include <ringleader/ops/session/flight_file.h>

#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace ringleader {
namespace {

struct Handled {
  int signal;
  const char* reason;
  struct sigaction before;
};

// Globals for the signal handler, which has no object. `path` is constant while `log_to_write` is
// set.
Handled handled[] = {
    {SIGUSR2, "SIGUSR2", {}}, {SIGSEGV, "SIGSEGV", {}}, {SIGBUS, "SIGBUS", {}},
    {SIGFPE, "SIGFPE", {}},   {SIGILL, "SIGILL", {}},   {SIGABRT, "SIGABRT", {}},
    {SIGTERM, "SIGTERM", {}}, {SIGINT, "SIGINT", {}},
};
std::atomic<const runtime::FlightLog*> log_to_write{nullptr};
char path[4096];
std::atomic_flag writing = ATOMIC_FLAG_INIT;

bool write_all(int file, const void* data, std::size_t bytes) {
  const auto* next = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(file, next, bytes);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    next += written;
    bytes -= static_cast<std::size_t>(written);
  }
  return true;
}

/// Opens the file, creates it if necessary, and makes it readable by its owner alone, even if it
/// existed before. Refuses a link, which might lead to another file, and a pipe, which nobody may
/// read.
int open_private() {
  const int file =
      ::open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
  if (file < 0) return file;
  struct stat info = {};
  const bool usable = ::fstat(file, &info) == 0 && S_ISREG(info.st_mode) && info.st_nlink == 1 &&
                      ::fchmod(file, 0600) == 0 && ::ftruncate(file, 0) == 0;
  if (usable) return file;
  ::close(file);
  return -1;
}

/// Time and reason are patched in while writing, because the log itself belongs to the runtime.
void write_log(const char* reason, std::size_t size) {
  const runtime::FlightLog* log = log_to_write;
  if (log == nullptr || writing.test_and_set()) return;
  const int file = open_private();
  if (file >= 0) {
    using Log = runtime::FlightLog;
    constexpr std::size_t kBefore = offsetof(Log, written);
    constexpr std::size_t kAfter = offsetof(Log, records);
    const runtime::FlightClock now = runtime::FlightClock::now();
    char text[sizeof Log::reason] = {};
    std::memcpy(text, reason, std::min(size, sizeof text - 1));
    static_assert(kAfter - kBefore == sizeof now + sizeof text);
    const auto* bytes = reinterpret_cast<const char*>(log);
    (void)(write_all(file, bytes, kBefore) && write_all(file, &now, sizeof now) &&
           write_all(file, text, sizeof text) &&
           write_all(file, bytes + kAfter, sizeof(Log) - kAfter));
    ::close(file);
  }
  writing.clear();
}

void handle(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  for (const Handled& entry : handled) {
    if (entry.signal != signal) continue;
    write_log(entry.reason, std::strlen(entry.reason));
    if ((entry.before.sa_flags & SA_SIGINFO) != 0) {
      entry.before.sa_sigaction(signal, info, context);
    } else if (entry.before.sa_handler != SIG_DFL && entry.before.sa_handler != SIG_IGN) {
      entry.before.sa_handler(signal);
    } else if (signal != SIGUSR2 && entry.before.sa_handler == SIG_DFL) {
      ::sigaction(signal, &entry.before, nullptr);  // then let the default action happen
      ::raise(signal);
    }
  }
  errno = saved_errno;
}

}  // namespace

Result<std::shared_ptr<FlightFile>> FlightFile::open(const std::string& folder, int rank) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  // The program may change its working directory before the file is written.
  const std::string absolute = std::filesystem::absolute(folder, error).string();
  const std::string name = fmt::format("{}/flight.{}.bin", absolute, rank);
  if (error || ::access(folder.c_str(), W_OK) != 0 || name.size() >= sizeof path) {
    return Status(
        Code::invalid_argument,
        fmt::format("RINGLEADER_FLIGHT_DIR={}: not a folder that can be written to", folder));
  }
  std::copy(name.c_str(), name.c_str() + name.size() + 1, path);
  struct sigaction action = {};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  for (Handled& entry : handled) ::sigaction(entry.signal, &action, &entry.before);
  return std::shared_ptr<FlightFile>(new FlightFile);
}

FlightFile::~FlightFile() {
  watch(nullptr);
  for (const Handled& entry : handled) {
    struct sigaction current = {};
    ::sigaction(entry.signal, nullptr, &current);
    const bool ours = (current.sa_flags & SA_SIGINFO) != 0 && current.sa_sigaction == handle;
    if (ours) ::sigaction(entry.signal, &entry.before, nullptr);
  }
}

void FlightFile::watch(const runtime::FlightLog* log) { log_to_write = log; }

void FlightFile::write(std::string_view reason) { write_log(reason.data(), reason.size()); }

}  // namespace ringleader
