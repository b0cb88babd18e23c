// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/env.h>

#include <ringleader/core/edit_distance.h>
#include <ringleader/core/log.h>
#include <ringleader/core/parse.h>

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

namespace ringleader {
namespace {

/// Everything that is read here. README.md's table has the same, which a test compares.
constexpr const char* kVariables[] = {
    "RINGLEADER_ALGORITHMS",      "RINGLEADER_ALGORITHMS_FILE", "RINGLEADER_ALLOW_SINGLE",
    "RINGLEADER_ARENA_BYTES",     "RINGLEADER_BACKEND",         "RINGLEADER_BACKGROUND_THREAD",
    "RINGLEADER_BLOCKED_GRACE_S", "RINGLEADER_DETERMINISTIC",   "RINGLEADER_FLIGHT_DIR",
    "RINGLEADER_FUSION_BYTES",    "RINGLEADER_HOST_ID",         "RINGLEADER_LOG_LEVEL",
    "RINGLEADER_NAMES_MAX",       "RINGLEADER_NCCL_CGA_SIZE",   "RINGLEADER_NCCL_CONNECT_TIMEOUT_S",
    "RINGLEADER_NCCL_CTAS_MAX",   "RINGLEADER_NCCL_CTAS_MIN",   "RINGLEADER_NCCL_HIERARCHICAL",
    "RINGLEADER_NCCL_NET",        "RINGLEADER_SEGMENT_BYTES",   "RINGLEADER_STALL_ABORT_S",
    "RINGLEADER_STALL_WARNING_S", "RINGLEADER_TREE_RADIX",
};

constexpr std::string_view kPrefix = "RINGLEADER_";

/// Of programs around the library: the tests, the scripts.
bool is_of_others(std::string_view variable) {
  for (const std::string_view prefix : {"RINGLEADER_TEST_", "RINGLEADER_BENCH_"}) {
    if (variable.substr(0, prefix.size()) == prefix) return true;
  }
  return false;
}

std::optional<std::string_view> read(const char* variable) {
  const char* value = std::getenv(variable);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

Status unusable(const char* variable, std::string_view value, std::string_view expected) {
  return Status(Code::invalid_argument,
                fmt::format("{}={}: expected {}", variable, value, expected));
}

/// An integer in [low, high] as parse_count() reads it; low is not negative.
template <typename Integer>
Status read_integer(const char* variable, std::int64_t low, std::int64_t high, Integer& out) {
  const auto value = read(variable);
  if (!value) return Status();
  const std::optional<std::int64_t> number = parse_count(*value);
  if (!number || *number < low || *number > high) {
    return unusable(variable, *value, fmt::format("a number from {} to {}", low, high));
  }
  out = static_cast<Integer>(*number);
  return Status();
}

/// Seconds: a decimal number that is not negative.
Status read_seconds(const char* variable, double& out) {
  const auto value = read(variable);
  if (!value) return Status();
  double number = 0;
  const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), number);
  const bool parsed = error == std::errc() && end == value->data() + value->size();
  if (!parsed || !(number >= 0 && number <= 1e9)) {
    return unusable(variable, *value, "a number of seconds");
  }
  out = number;
  return Status();
}

/// Adds the text of the file that the variable names to `out`.
Status read_file(const char* variable, std::string& out) {
  const auto path = read(variable);
  if (!path) return Status();
  std::ifstream file{std::string(*path)};
  std::ostringstream text;
  if (!(text << file.rdbuf())) return unusable(variable, *path, "a file that can be read");
  out += "\n" + text.str();
  return Status();
}

Status read_bool(const char* variable, bool& out) {
  const auto value = read(variable);
  if (!value) return Status();
  if (*value != "0" && *value != "1") return unusable(variable, *value, "0 or 1");
  out = *value == "1";
  return Status();
}

Status read_log_level(LogLevel& out) {
  constexpr const char* kVariable = "RINGLEADER_LOG_LEVEL";
  const auto value = read(kVariable);
  if (!value) return Status();
  for (const LogLevel level :
       {LogLevel::debug, LogLevel::info, LogLevel::warning, LogLevel::error, LogLevel::off}) {
    if (*value != name_of(level)) continue;
    out = level;
    return Status();
  }
  return unusable(kVariable, *value, "debug, info, warning, error or off");
}

}  // namespace

std::vector<std::string> known_variables() {
  return {std::begin(kVariables), std::end(kVariables)};
}

std::optional<std::int64_t> number_from_environment(const char* variable) {
  const auto value = read(variable);
  return value ? parse_count(*value) : std::nullopt;
}

void warn_of_unknown_variables() {
  static std::atomic_flag told = ATOMIC_FLAG_INIT;
  if (told.test_and_set()) return;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view setting(*entry);
    const std::string name(setting.substr(0, setting.find('=')));
    if (setting.substr(0, kPrefix.size()) != kPrefix || is_of_others(name)) continue;
    if (std::find(std::begin(kVariables), std::end(kVariables), name) != std::end(kVariables)) {
      continue;
    }
    const char* const closest = *std::min_element(
        std::begin(kVariables), std::end(kVariables), [&](const char* a, const char* b) {
          return edit_distance(name, a) < edit_distance(name, b);
        });
    log(LogLevel::warning,
        fmt::format("{} is set, and there is no such variable; did you mean {}?", name, closest));
  }
}

Result<Config> config_from_environment(Config config) {
  if (const auto backend = read("RINGLEADER_BACKEND")) config.backend = *backend;
  if (const auto folder = read("RINGLEADER_FLIGHT_DIR")) config.flight_dir = *folder;
  if (const auto net = read("RINGLEADER_NCCL_NET")) config.nccl.net_name = *net;
  if (const auto host = read("RINGLEADER_HOST_ID")) config.host_id = *host;
  config.nccl_hosts_named = read("NCCL_HOSTID").has_value();
  if (const auto rows = read("RINGLEADER_ALGORITHMS")) config.algorithms = *rows;
  const Status statuses[] = {
      read_file("RINGLEADER_ALGORITHMS_FILE", config.algorithms),
      read_integer("RINGLEADER_FUSION_BYTES", 0, std::int64_t{1} << 40, config.fusion_bytes_max),
      read_integer("RINGLEADER_TREE_RADIX", 1, 32, config.tree_radix),
      read_integer("RINGLEADER_NAMES_MAX", 0, 1 << 24, config.names_max),
      read_integer("RINGLEADER_SEGMENT_BYTES", 0, 1 << 30, config.segment_bytes),
      read_integer("RINGLEADER_ARENA_BYTES", 1 << 20, std::int64_t{1} << 46, config.arena_bytes),
      read_bool("RINGLEADER_ALLOW_SINGLE", config.allow_single),
      read_bool("RINGLEADER_DETERMINISTIC", config.deterministic),
      read_bool("RINGLEADER_BACKGROUND_THREAD", config.background_thread),
      read_bool("RINGLEADER_NCCL_HIERARCHICAL", config.nccl.hierarchical),
      read_integer("RINGLEADER_NCCL_CTAS_MIN", 0, 64, config.nccl.ctas_min),
      read_integer("RINGLEADER_NCCL_CTAS_MAX", 0, 64, config.nccl.ctas_max),
      read_integer("RINGLEADER_NCCL_CGA_SIZE", 0, 8, config.nccl.cga_size),
      read_seconds("RINGLEADER_NCCL_CONNECT_TIMEOUT_S", config.nccl.connect_timeout_s),
      read_seconds("RINGLEADER_BLOCKED_GRACE_S", config.blocked_grace_s),
      read_seconds("RINGLEADER_STALL_WARNING_S", config.stall_warning_s),
      read_seconds("RINGLEADER_STALL_ABORT_S", config.stall_abort_s),
      read_log_level(config.log_level),
  };
  for (const Status& status : statuses) {
    if (!status.ok()) return status;
  }
  return config;
}

}  // namespace ringleader
