// SPDX-License-Identifier: Apache-2.0
//
// Settings: the only place that reads the environment. One table (settings.cc) says for each
// RINGLEADER_* variable how it is parsed, whether all ranks must have the same value, and what
// README.md says about it. A new setting is one row there, plus the member of Config that it fills.
#pragma once

#include <ringleader/core/config.h>
#include <ringleader/core/result.h>
#include <ringleader/core/status.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringleader {

/// Whether ranks may have different values.
enum class Scope : std::uint8_t {
  rank,  ///< they may
  job,   ///< they may not: what ranks send each other depends on it, so init() compares it
};

struct Setting {
  std::string_view variable;
  Scope scope = Scope::rank;
  std::string_view meaning;   ///< for the documentation
  std::string_view fallback;  ///< the default, as the documentation writes it

  /// Sets the value; the error says what was expected.
  std::function<Status(std::string_view text, Config& config)> parse;

  /// Returns the value on one line. Null where there is nothing to compare or show.
  std::function<std::string(const Config& config)> print;
};

/// All settings, in the order of the documentation.
const std::vector<Setting>& settings();

/// `config`, overridden by the variables. A value that cannot be used is an error that names the
/// variable.
Result<Config> config_from_environment(Config config);

/// Warns once about unknown variables that begin with RINGLEADER_, naming the closest known one.
void warn_of_unknown_variables();

/// The value of a variable that other programs set; nothing if it is not a number.
std::optional<std::int64_t> number_from_environment(const char* variable);

/// Whether NCCL_HOSTID is set. It tells NCCL to treat the ranks of a node as those of several
/// nodes, so that they may share a GPU: for tests.
bool nccl_hosts_are_named();

/// The settings that must be equal on all ranks, one per line.
std::string job_settings(const Config& config);

/// `all`: job_settings() of each rank. An error names the first difference, its values and ranks.
Status compare_job_settings(const std::vector<std::string>& all);

}  // namespace ringleader
