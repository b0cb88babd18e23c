// SPDX-License-Identifier: Apache-2.0
//
// The p2p transport over MPI's point-to-point messages.
#pragma once

#include <ringleader/collectives/mpi_transport/communicator.h>
#include <ringleader/collectives/p2p/transport.h>

#include <memory>

namespace ringleader::mpi_transport {

std::shared_ptr<p2p::Transport> make_transport(std::shared_ptr<ChannelCommunicators> communicators);

}  // namespace ringleader::mpi_transport
