// SPDX-License-Identifier: Apache-2.0
//
// MpiWorld: this process's place among the MPI processes.
//
// MPI can be initialized once per process. If the program has not done so, the first MpiWorld does,
// and MPI_Finalize is called when the process exits. If the program has, it also finalizes MPI.
#pragma once

#include <ringleader/collectives/mpi_transport/communicator.h>
#include <ringleader/core/result.h>
#include <ringleader/core/topology.h>

#include <string>
#include <utility>
#include <vector>

namespace ringleader::mpi_transport {

class MpiWorld {
 public:
  /// Duplicates `communicator` (an MPI_Comm; nullptr: MPI_COMM_WORLD). Ranks with the same
  /// `host_id` are on one node. Ranks without one are on one node if MPI says that they share
  /// memory. Collective over `communicator`.
  static Result<MpiWorld> open(const void* communicator, const std::string& host_id);

  const Topology& topology() const { return topology_; }

  /// True if any thread may call MPI, one at a time. If false, only the thread that initialized MPI
  /// may.
  bool any_thread() const { return any_thread_; }

  /// True if several threads may call MPI at once.
  bool concurrent() const { return concurrent_; }

  /// For each rank, the number of its node.
  const std::vector<int>& nodes() const { return nodes_; }

  MPI_Comm comm() const { return comm_.get(); }

  /// A duplicate of the communicator for a separate purpose. Collective.
  Result<Communicator> duplicate() const { return Communicator::duplicate(comm_.get()); }

  /// Sets a callback that is called when MPI_Finalize begins, whoever calls it. Call this before
  /// open().
  static void on_finalize(void (*callback)());

  /// Records that another process may be dead. MPI_Finalize could wait for it for ever, so this
  /// process ends the job instead when it exits.
  static void mark_broken();

 private:
  explicit MpiWorld(Communicator comm) : comm_(std::move(comm)) {}

  Status find_nodes(const std::string& host_id);

  Communicator comm_;
  Topology topology_;
  std::vector<int> nodes_;
  bool any_thread_ = false;
  bool concurrent_ = false;
};

}  // namespace ringleader::mpi_transport
