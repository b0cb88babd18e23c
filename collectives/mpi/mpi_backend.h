// SPDX-License-Identifier: Apache-2.0
//
// The backend "mpi": the MPI library's own non-blocking collectives. It is the reference for the
// other backends.
#pragma once

#include <ringleader/collectives/mpi_transport/communicator.h>
#include <ringleader/core/runtime/backend.h>

#include <memory>

namespace ringleader::mpi {

std::unique_ptr<Backend> make_mpi_backend(
    std::shared_ptr<mpi_transport::ChannelCommunicators> communicators);

}  // namespace ringleader::mpi
