// SPDX-License-Identifier: Apache-2.0
//
// Every call of CUDA and NCCL goes through checked(), which adds the call's name and the library's
// own text.
#pragma once

#include <ringleader/core/status.h>

#include <cuda_runtime_api.h>
#include <nccl.h>

namespace ringleader::nccl {

Status checked(cudaError_t code, const char* call);

/// ncclInProgress is not an error: the communicator reports the outcome later.
Status checked(ncclResult_t code, const char* call, ncclComm_t communicator = nullptr);

}  // namespace ringleader::nccl

/// checked(cudaX(...), "cudaX(...)"), returning the Status from the enclosing function if it
/// failed.
#define RL_CUDA_RETURN_IF_ERROR(call)                                                       \
  do {                                                                                      \
    const ::ringleader::Status rl_cuda_status = ::ringleader::nccl::checked((call), #call); \
    if (!rl_cuda_status.ok()) return rl_cuda_status;                                        \
  } while (false)
