// SPDX-License-Identifier: Apache-2.0
//
// The p2p transport between threads of one process: tests run its algorithms without MPI.
#pragma once

#include <ringleader/collectives/p2p/transport.h>

#include <memory>
#include <vector>

namespace ringleader::inproc {

/// Makes one transport for each of `size` ranks. Different threads may use them.
std::vector<std::unique_ptr<p2p::Transport>> make_transports(int size);

}  // namespace ringleader::inproc
