// SPDX-License-Identifier: Apache-2.0
//
// The position of this process among all ranks.
#pragma once

namespace ringleader {

struct Topology {
  int rank = 0;        ///< index among all ranks, 0 <= rank < size
  int size = 1;        ///< number of ranks
  int local_rank = 0;  ///< index among the ranks of this node
  int local_size = 1;  ///< number of ranks on this node
};

}  // namespace ringleader
