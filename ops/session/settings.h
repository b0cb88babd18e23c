// SPDX-License-Identifier: Apache-2.0
//
// Settings: the only place that reads the environment. One table (settings.cc) says of each
// RINGLEADER_* variable how it is parsed, whether all ranks must have the same value, and what
// README.md says of it. A new setting is one row there, beside the member of Config that it fills.
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
  job,   ///< what ranks send each other depends on it; init() compares it
};

struct Setting {
  std::string_view variable;
  Scope scope = Scope::rank;
  std::string_view meaning;   ///< for the documentation
  std::string_view fallback;  ///< the default, as the documentation writes it

  /// Sets the value; the error says what was expected.
  std::function<Status(std::string_view text, Config& config)> parse;

  /// On one line. Null where nothing is to be compared or shown.
  std::function<std::string(const Config& config)> print;
};

/// All settings, in the order of the documentation.
const std::vector<Setting>& settings();

/// `config` with what the variables override. A value that cannot be used is an error that names
/// the variable.
Result<Config> config_from_environment(Config config);

/// Warns once of variables that begin with RINGLEADER_ and that nobody knows, naming the closest.
void warn_of_unknown_variables();

/// The value of a variable that others set; nothing if it is not a number.
std::optional<std::int64_t> number_from_environment(const char* variable);

/// NCCL was told (NCCL_HOSTID) to take the ranks of a node for those of several, so that they may
/// share a GPU: for tests.
bool nccl_hosts_are_named();

/// What must be equal on all ranks, a setting per line.
std::string job_settings(const Config& config);

/// `all`: job_settings() of each rank. An error names the first difference, its values and ranks.
Status compare_job_settings(const std::vector<std::string>& all);

}  // namespace ringleader
