// SPDX-License-Identifier: Apache-2.0
//
// The training loop: the part of the program that shows how to use ringleader.
//
//   const RunResult result = train(options, data, report);
#pragma once

#include "dataset.h"
#include "options.h"
#include "report.h"

namespace train_mnist {

/// Trains on all ranks until the epochs are over or the target accuracy is reached. Collective.
/// Errors: ringleader::Error; its code is mismatch if the ranks have different networks.
RunResult train(const Options& options, Device device, const Dataset& data, Report& report);

}  // namespace train_mnist
