// SPDX-License-Identifier: Apache-2.0
//
// Logging through a sink that the program may replace. The library itself never writes to stdout.
//
//   set_log_sink([](LogLevel level, std::string_view text) { my_logger(level, text); });
//   log(LogLevel::info, "plan armed");
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace ringleader {

/// The severity of a message, in ascending order; `off` logs nothing.
enum class LogLevel : std::uint8_t { debug, info, warning, error, off };

/// "warning" for LogLevel::warning, as RINGLEADER_LOG_LEVEL spells it.
const char* name_of(LogLevel level);

/// Receives one message without a trailing newline. Any thread may call it, several at the same
/// time too; it may use the library.
using LogSink = std::function<void(LogLevel, std::string_view)>;

/// Replaces the sink; an empty function restores the default, which writes a line to stderr.
void set_log_sink(LogSink sink);

/// Messages below this level are dropped before they are formatted. The default is `warning`.
void set_log_level(LogLevel level);
/// The level in force. Any thread.
LogLevel log_level();

/// The prefix of every line, such as "[rank 2]"; set by init().
void set_log_prefix(std::string_view prefix);

/// Passes the text on to the sink if the level is in force. Any thread; does not throw.
void log(LogLevel level, std::string_view text);

}  // namespace ringleader
