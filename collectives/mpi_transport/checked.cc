// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/mpi_transport/checked.h>

#include <fmt/core.h>

#include <string_view>

namespace ringleader::mpi_transport {

Status checked(int code, const char* call) {
  if (code == MPI_SUCCESS) return Status();
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  const std::string_view expression(call);
  return Status(Code::transport,
                fmt::format("{} failed: {}", expression.substr(0, expression.find('(')),
                            std::string_view(text, static_cast<std::size_t>(length))));
}

}  // namespace ringleader::mpi_transport
