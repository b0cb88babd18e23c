// SPDX-License-Identifier: Apache-2.0
//
// The transport of p2p among threads of one process: its algorithms without MPI, for tests.
#pragma once

#include <ringleader/collectives/p2p/transport.h>

#include <memory>
#include <vector>

namespace ringleader::inproc {

/// One for each of `size` ranks, which different threads may use.
std::vector<std::unique_ptr<p2p::Transport>> make_transports(int size);

}  // namespace ringleader::inproc
