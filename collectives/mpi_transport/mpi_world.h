// SPDX-License-Identifier: Apache-2.0
//
// MpiWorld: this process's place among the MPI processes.
//
// MPI can be initialized once per process. If the program has not done it, the first MpiWorld
// does, and MPI_Finalize is called when the process exits; if the program has, it also finalizes.
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
  /// `host_id` are on one node; without one, those that MPI says share memory. Collective over it.
  static Result<MpiWorld> open(const void* communicator, const std::string& host_id);

  const Topology& topology() const { return topology_; }

  /// One thread at a time may call MPI, whichever it is. If not, only the thread that initialized
  /// MPI may.
  bool any_thread() const { return any_thread_; }

  /// Several threads may call MPI at once.
  bool concurrent() const { return concurrent_; }

  /// For each rank a number of the node it is on.
  const std::vector<int>& nodes() const { return nodes_; }

  MPI_Comm comm() const { return comm_.get(); }

  /// A duplicate for a purpose of its own. Collective.
  Result<Communicator> duplicate() const { return Communicator::duplicate(comm_.get()); }

  /// `callback` is called when MPI_Finalize begins, whoever calls it. To be set before open().
  static void on_finalize(void (*callback)());

  /// Another process may be dead: MPI_Finalize could wait for it for ever, so when this process
  /// exits it ends the job instead.
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
