// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/mpi_transport/mpi_world.h>

#include <atomic>
#include <cstdlib>

namespace ringleader::mpi_transport {
namespace {

std::atomic<bool> broken{false};

void finalize_at_exit() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized != 0) return;
  if (broken) MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
  MPI_Finalize();
}

Status initialize() {
  int finalized = 0;
  RL_MPI_RETURN_IF_ERROR(MPI_Finalized(&finalized));
  if (finalized != 0) {
    return Status(Code::transport,
                  "init(): MPI has been finalized and cannot be started again in this process");
  }
  int initialized = 0;
  RL_MPI_RETURN_IF_ERROR(MPI_Initialized(&initialized));
  if (initialized != 0) return Status();
  int provided = 0;
  RL_MPI_RETURN_IF_ERROR(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided));
  std::atexit(finalize_at_exit);
  return Status();
}

Result<Topology> find_topology(MPI_Comm comm) {
  Topology topology;
  RL_MPI_RETURN_IF_ERROR(MPI_Comm_rank(comm, &topology.rank));
  RL_MPI_RETURN_IF_ERROR(MPI_Comm_size(comm, &topology.size));
  MPI_Comm node = MPI_COMM_NULL;
  RL_MPI_RETURN_IF_ERROR(
      MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, topology.rank, MPI_INFO_NULL, &node));
  const Communicator owned(node);
  RL_MPI_RETURN_IF_ERROR(MPI_Comm_rank(node, &topology.local_rank));
  RL_MPI_RETURN_IF_ERROR(MPI_Comm_size(node, &topology.local_size));
  return topology;
}

}  // namespace

Result<MpiWorld> MpiWorld::open(const void* communicator) {
  if (const Status status = initialize(); !status.ok()) return status;
  const MPI_Comm base =
      communicator == nullptr ? MPI_COMM_WORLD : *static_cast<const MPI_Comm*>(communicator);
  Result<Communicator> comm = Communicator::duplicate(base);
  if (!comm.ok()) return comm.status();
  const Result<Topology> topology = find_topology(comm->get());
  if (!topology.ok()) return topology.status();
  int provided = MPI_THREAD_SINGLE;
  RL_MPI_RETURN_IF_ERROR(MPI_Query_thread(&provided));
  return MpiWorld(std::move(*comm), *topology, provided >= MPI_THREAD_SERIALIZED);
}

void MpiWorld::mark_broken() { broken = true; }

}  // namespace ringleader::mpi_transport
