// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "network.h"

namespace train_mnist {

/// The device that all ranks compute on. `wanted` is auto, cpu or cuda: with auto, GPUs if every
/// rank has one of its own. Of several GPUs a rank uses the one of its place on the node.
/// Collective; throws Stop on all ranks if cuda is wanted and one has none.
Device choose_device(const std::string& wanted);

}  // namespace train_mnist
