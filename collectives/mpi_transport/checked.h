// SPDX-License-Identifier: Apache-2.0
//
// Every call of MPI goes through checked(), which adds the call's name and MPI's own text.
#pragma once

#include <ringleader/core/status.h>

// The C interface only: the C++ bindings were removed from the standard.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

namespace ringleader::mpi_transport {

Status checked(int code, const char* call);

}  // namespace ringleader::mpi_transport

/// checked(MPI_X(...), "MPI_X"), returning the Status from the enclosing function if it failed.
#define RL_MPI_RETURN_IF_ERROR(call)                         \
  do {                                                       \
    const ::ringleader::Status rl_mpi_status =               \
        ::ringleader::mpi_transport::checked((call), #call); \
    if (!rl_mpi_status.ok()) return rl_mpi_status;           \
  } while (false)
