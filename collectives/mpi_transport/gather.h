// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ringleader/collectives/mpi_transport/checked.h>
#include <ringleader/core/result.h>

#include <string>
#include <vector>

namespace ringleader::mpi_transport {

/// Allgathers the bytes of all ranks of `comm`, in rank order; up to 2 GiB in total. Collective;
/// blocks.
Result<std::vector<std::string>> gather(MPI_Comm comm, const std::string& bytes);

}  // namespace ringleader::mpi_transport
