// SPDX-License-Identifier: Apache-2.0
//
// The backend "ring": our own algorithms over MPI point-to-point messages, for every operation and
// element type in host memory. README.md says which algorithm runs when.
#pragma once

#include <ringleader/collectives/mpi_transport/communicator.h>
#include <ringleader/collectives/selection/algorithm_table.h>
#include <ringleader/core/runtime/backend.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace ringleader::ring {

/// Equal on all ranks.
struct RingOptions {
  selection::AlgorithmTable algorithms;
  std::vector<int> nodes;     ///< for each world rank a number of its host
  bool deterministic = true;  ///< sum by one tree over the ranks
  std::int64_t segment_bytes = 60 << 10;
};

std::unique_ptr<Backend> make_ring_backend(
    std::shared_ptr<mpi_transport::ChannelCommunicators> communicators, RingOptions options);

/// The segment size, of a few, with which the ranks of `comm` exchange some megabytes fastest.
/// Collective; blocks for at most some tenths of a second.
Result<std::int64_t> calibrate_segment_bytes(MPI_Comm comm);

}  // namespace ringleader::ring
