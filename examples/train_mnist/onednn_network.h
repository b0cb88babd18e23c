// SPDX-License-Identifier: Apache-2.0
//
// The network on the CPU, computed by oneDNN.
#pragma once

#include <memory>

#include "network.h"

namespace train_mnist {

/// Also sets how many threads oneDNN uses: the cores of this rank's node divided by the ranks on
/// it, unless OMP_NUM_THREADS says otherwise. Requires that the library is initialized.
std::unique_ptr<Network> make_onednn_network(const NetworkOptions& options);

}  // namespace train_mnist
