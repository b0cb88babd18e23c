// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "network.h"

namespace train_mnist {

/// The device that all ranks compute on. `wanted` is auto, cpu or cuda; auto means GPUs if every
/// rank has one of its own. If a rank has several GPUs, it uses the one with its local rank's
/// index.
/// Collective; throws Stop on all ranks if cuda is wanted and some rank has no GPU.
Device choose_device(const std::string& wanted);

}  // namespace train_mnist
