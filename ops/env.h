// SPDX-License-Identifier: Apache-2.0
//
// The only place that reads the environment.
#pragma once

#include <ringleader/core/config.h>
#include <ringleader/core/result.h>

namespace ringleader {

/// `config` with what the RINGLEADER_* variables override. A value that cannot be used is an
/// error that names the variable.
Result<Config> config_from_environment(Config config);

}  // namespace ringleader
