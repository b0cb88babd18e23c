// SPDX-License-Identifier: Apache-2.0
//
// The backend "ring": our own algorithms over MPI point-to-point messages, for every operation and
// element type in host memory. README.md says which algorithm runs when.
#pragma once

#include <ringleader/collectives/mpi_transport/communicator.h>
#include <ringleader/core/config.h>
#include <ringleader/core/runtime/backend.h>

#include <memory>

namespace ringleader::ring {

std::unique_ptr<Backend> make_ring_backend(
    std::shared_ptr<mpi_transport::ChannelCommunicators> communicators, const Config& config);

}  // namespace ringleader::ring
