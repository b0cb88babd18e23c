// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ringleader/core/status.h>

namespace ringleader::test {

/// The error that an operation ends with, or an ok Status.
template <typename Run>
Status outcome_of(Run run) {
  try {
    run();
  } catch (const Error& error) {
    return error.status();
  }
  return Status();
}

}  // namespace ringleader::test
