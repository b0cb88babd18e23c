// SPDX-License-Identifier: Apache-2.0
//
// Machine: what hwloc knows about the node that this process is on.
#pragma once

#include <cstdint>

namespace ringleader {

struct Machine {
  /// Processing units that this process could use if it were not bound. mpirun binds ranks to
  /// single cores, which says nothing about how many cores there are for all ranks.
  int processing_units = 1;

  /// Size of the largest cache in bytes; 0 if unknown.
  std::int64_t cache_bytes = 0;

  /// Memory nodes; more than one means that memory is near some cores and far from others.
  int memory_nodes = 1;
};

/// Values that cannot be determined keep their defaults.
Machine read_machine();

}  // namespace ringleader
