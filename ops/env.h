// SPDX-License-Identifier: Apache-2.0
//
// The only place that reads the environment.
#pragma once

#include <ringleader/core/config.h>
#include <ringleader/core/result.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ringleader {

/// `config` with what the RINGLEADER_* variables override. A value that cannot be used is an
/// error that names the variable.
Result<Config> config_from_environment(Config config);

/// The names of all variables that the library reads.
std::vector<std::string> known_variables();

/// The value of a variable that others set; nothing if it is not a number.
std::optional<std::int64_t> number_from_environment(const char* variable);

/// Warns once of variables that begin with RINGLEADER_ and that nobody knows, naming the closest.
void warn_of_unknown_variables();

}  // namespace ringleader
