// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/log.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace ringleader {
namespace {

struct Logger {
  std::mutex mutex;
  std::shared_ptr<const LogSink> sink;
  std::string prefix;
  std::atomic<LogLevel> level{LogLevel::warning};
};

Logger& logger() {
  static Logger* const instance = new Logger;  // never deleted: may log while the process exits
  return *instance;
}

}  // namespace

const char* name_of(LogLevel level) {
  static constexpr const char* kNames[] = {"debug", "info", "warning", "error", "off"};
  return kNames[static_cast<std::size_t>(level)];
}

void set_log_sink(LogSink sink) {
  auto shared = sink ? std::make_shared<const LogSink>(std::move(sink)) : nullptr;
  const std::lock_guard lock(logger().mutex);
  logger().sink = std::move(shared);
}

void set_log_level(LogLevel level) { logger().level = level; }

LogLevel log_level() { return logger().level; }

void set_log_prefix(std::string_view prefix) {
  const std::lock_guard lock(logger().mutex);
  logger().prefix = prefix;
}

void log(LogLevel level, std::string_view text) {
  Logger& target = logger();
  if (level < target.level.load(std::memory_order_relaxed)) return;  // a hint; orders nothing
  std::shared_ptr<const LogSink> sink;
  std::string line;
  {
    const std::lock_guard lock(target.mutex);
    sink = target.sink;
    line = target.prefix;
  }
  thread_local bool in_sink = false;
  if (sink != nullptr && !in_sink) {
    in_sink = true;  // messages that the sink itself logs do not go to it
    (*sink)(level, text);
    in_sink = false;
    return;
  }
  line = "ringleader" + (line.empty() ? line : " " + line) + " " + name_of(level) + ": ";
  line.append(text).append("\n");
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace ringleader
