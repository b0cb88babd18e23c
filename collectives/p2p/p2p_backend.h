// SPDX-License-Identifier: Apache-2.0
//
// The backend "p2p": our own algorithms over messages between two ranks, for every operation and
// element type in host memory. collectives/README.md says which algorithm runs when.
#pragma once

#include <ringleader/collectives/p2p/algorithm_table.h>
#include <ringleader/collectives/p2p/transport.h>
#include <ringleader/core/runtime/backend.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace ringleader::p2p {

/// Must be equal on all ranks.
struct P2pOptions {
  AlgorithmTable algorithms;
  std::vector<int> nodes;     ///< the node's number for each world rank
  bool deterministic = true;  ///< sum by one tree over the ranks
  std::int64_t segment_bytes = 60 << 10;
};

std::unique_ptr<Backend> make_p2p_backend(std::shared_ptr<Transport> transport, P2pOptions options);

/// Tries a few segment sizes and returns the one with which the ranks of `group` exchange a few
/// megabytes fastest. Collective; blocks for at most a few tenths of a second.
Result<std::int64_t> calibrate_segment_bytes(Transport& transport,
                                             const std::shared_ptr<const Group>& group);

}  // namespace ringleader::p2p
