// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/log.h>

#include <atomic>
#include <cstdio>
#include <mutex>
#include <string>
#include <utility>

namespace ringleader {
namespace {

struct Logger {
  std::mutex mutex;
  LogSink sink;
  std::string prefix;
  std::atomic<LogLevel> level{LogLevel::warning};
};

Logger& logger() {
  static Logger instance;
  return instance;
}

}  // namespace

const char* name_of(LogLevel level) {
  static constexpr const char* kNames[] = {"debug", "info", "warning", "error", "off"};
  return kNames[static_cast<std::size_t>(level)];
}

void set_log_sink(LogSink sink) {
  const std::lock_guard lock(logger().mutex);
  logger().sink = std::move(sink);
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
  const std::lock_guard lock(target.mutex);
  if (target.sink) {
    target.sink(level, text);
    return;
  }
  std::fprintf(stderr, "ringleader%s%s %s: %.*s\n", target.prefix.empty() ? "" : " ",
               target.prefix.c_str(), name_of(level), static_cast<int>(text.size()), text.data());
}

}  // namespace ringleader
