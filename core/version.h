// SPDX-License-Identifier: Apache-2.0
//
// The version of these headers; ringleader::version() is that of the library. The build reads it
// from here.
#pragma once

#define RINGLEADER_VERSION_MAJOR 0
#define RINGLEADER_VERSION_MINOR 1
#define RINGLEADER_VERSION_PATCH 0
#define RINGLEADER_VERSION_STRING "0.1.0"

/// For comparisons: 100 is 0.1.0.
#define RINGLEADER_VERSION \
  (RINGLEADER_VERSION_MAJOR * 10000 + RINGLEADER_VERSION_MINOR * 100 + RINGLEADER_VERSION_PATCH)
