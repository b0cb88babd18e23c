// SPDX-License-Identifier: Apache-2.0
//
// Machine: what hwloc knows about the node that this process is on.
#pragma once

#include <cstdint>

namespace ringleader {

struct Machine {
  /// Processing units that this process may use, were it not bound: mpirun binds ranks to single
  /// cores, which says nothing about how many there are for all of them.
  int processing_units = 1;

  /// Of the largest cache, in bytes; 0 if unknown.
  std::int64_t cache_bytes = 0;

  /// Memory nodes: more than one means that memory is near some cores and far from others.
  int memory_nodes = 1;
};

/// What cannot be found out keeps its default.
Machine read_machine();

}  // namespace ringleader
