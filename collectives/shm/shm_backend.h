// SPDX-License-Identifier: Apache-2.0
//
// The backend "shm": every operation and element type in host memory, between ranks of one node,
// through shared memory. README.md says how each operation is carried out and what it costs.
#pragma once

#include <ringleader/collectives/shm/node.h>
#include <ringleader/core/runtime/backend.h>

#include <memory>

namespace ringleader::shm {

std::unique_ptr<Backend> make_shm_backend(std::shared_ptr<Node> node);

}  // namespace ringleader::shm
