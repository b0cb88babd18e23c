// SPDX-License-Identifier: Apache-2.0
//
// Running: one batch in progress in the MPI library's collectives. Large batches go through in
// pieces, one after another: start() starts the next piece, complete() uses its result.
#pragma once

#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/collectives/mpi/datatypes.h>
#include <ringleader/core/batch.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ringleader::mpi {

/// Elements of one piece that is converted or packed. This bounds the work of one poll.
constexpr std::int64_t kStagedPiece = 1 << 20;

struct Running {
  const Batch* batch = nullptr;
  MPI_Comm comm = MPI_COMM_NULL;
  kernels::ReduceSpec wide;  ///< the reduction, in the type in which MPI computes it
  bool staged = false;       ///< elements go through `staging`, in the wide type
  std::vector<std::byte> staging;
  std::vector<std::byte> result;  ///< reduce_scatter: this rank's block, in the wide type
  std::int64_t begin = 0;         ///< the piece in flight
  std::int64_t end = 0;
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Request sending = MPI_REQUEST_NULL;  ///< exchange: the outgoing message

  // What MPI reads until the request completes.
  std::vector<int> counts;
  std::vector<int> displacements;
  std::vector<BlockType> block_types;
  std::vector<MPI_Datatype> send_types;
  std::vector<MPI_Datatype> receive_types;
};

/// Starts the piece that begins at running.begin; sets running.end.
Status start(Running& running);

/// Writes the results of the piece, which has been reduced or moved.
void complete(Running& running);

}  // namespace ringleader::mpi
