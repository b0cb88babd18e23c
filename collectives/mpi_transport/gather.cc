// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/mpi_transport/gather.h>

namespace ringleader::mpi_transport {

Result<std::vector<std::string>> gather(MPI_Comm comm, const std::string& bytes) {
  int size = 0;
  RL_MPI_RETURN_IF_ERROR(MPI_Comm_size(comm, &size));
  std::vector<int> counts(static_cast<std::size_t>(size));
  const int own = static_cast<int>(bytes.size());
  RL_MPI_RETURN_IF_ERROR(MPI_Allgather(&own, 1, MPI_INT, counts.data(), 1, MPI_INT, comm));
  std::vector<int> offsets;
  int total = 0;
  for (const int count : counts) {
    offsets.push_back(total);
    total += count;
  }
  std::string all(static_cast<std::size_t>(total), '\0');
  RL_MPI_RETURN_IF_ERROR(MPI_Allgatherv(bytes.data(), own, MPI_BYTE, all.data(), counts.data(),
                                        offsets.data(), MPI_BYTE, comm));
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    parts.push_back(
        all.substr(static_cast<std::size_t>(offsets[i]), static_cast<std::size_t>(counts[i])));
  }
  return parts;
}

}  // namespace ringleader::mpi_transport
