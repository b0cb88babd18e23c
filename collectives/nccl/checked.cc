// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/nccl/checked.h>

#include <fmt/core.h>

#include <string_view>

namespace ringleader::nccl {
namespace {

std::string_view function_of(std::string_view call) { return call.substr(0, call.find('(')); }

}  // namespace

Status checked(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return Status();
  return Status(Code::transport, fmt::format("{}: {} ({})", function_of(call),
                                             cudaGetErrorString(code), cudaGetErrorName(code)));
}

Status checked(ncclResult_t code, const char* call, ncclComm_t communicator) {
  if (code == ncclSuccess || code == ncclInProgress) return Status();
  const char* const last = ncclGetLastError(communicator);
  return Status(
      Code::transport,
      fmt::format("{}: {}{}{}", function_of(call), ncclGetErrorString(code),
                  last == nullptr || *last == '\0' ? "" : ": ", last == nullptr ? "" : last));
}

}  // namespace ringleader::nccl
