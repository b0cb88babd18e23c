// SPDX-License-Identifier: Apache-2.0
//
// The version of these headers; ringleader::version() returns the library's. The build reads the
// version from here.
#pragma once

#define RINGLEADER_VERSION_MAJOR 0
#define RINGLEADER_VERSION_MINOR 2
#define RINGLEADER_VERSION_PATCH 0
#define RINGLEADER_VERSION_STRING "0.2.0"

/// For comparisons: 200 is 0.2.0.
#define RINGLEADER_VERSION \
  (RINGLEADER_VERSION_MAJOR * 10000 + RINGLEADER_VERSION_MINOR * 100 + RINGLEADER_VERSION_PATCH)
