// SPDX-License-Identifier: Apache-2.0
//
// The backend "hierarchical": allreduce over several nodes with several ranks each, composed of two
// other backends: one inside the nodes and one between them. For 2 nodes of 2 ranks:
//
//   reduce-scatter inside    rank 0: first half of ranks 0, 1      rank 2: first half of 2, 3
//                            rank 1: second half of 0, 1           rank 3: second half of 2, 3
//   allreduce between        ranks 0 and 2: first half             ranks 1 and 3: second half
//   allgather inside         every rank gets both halves
//
// With N nodes, each node sends 2 (N-1)/N n bytes, however many ranks it has: every rank carries a
// share of them. A flat ring of P ranks sends 2 (P-1)/P n per node: for N = 2, 1.5 times as much
// with P = 4, and nearly twice as much with many ranks. The composition is that of J. Dongarra et
// al. and of every later library; P. Patarasuk and X. Yuan give the cost of the ring inside it.
#pragma once

#include <ringleader/collectives/p2p/algorithm_table.h>
#include <ringleader/core/runtime/backend.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace ringleader::hierarchical {

/// `nodes` has the node's number for each world rank; negative if the node's ranks have no `inside`
/// backend. Equal on all ranks.
struct HierarchicalOptions {
  p2p::AlgorithmTable algorithms;  ///< decide which batches this backend runs
  std::vector<int> nodes;          ///< the node's number for each world rank
  bool deterministic = true;       ///< the same order of summation for all sizes
  /// Allocates memory for fused batches, preferably memory that the ranks of a node share.
  std::function<std::shared_ptr<std::byte>(std::int64_t bytes)> allocate;
};

std::unique_ptr<Backend> make_hierarchical_backend(std::unique_ptr<Backend> inside,
                                                   std::unique_ptr<Backend> between,
                                                   HierarchicalOptions options);

}  // namespace ringleader::hierarchical
