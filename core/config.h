// SPDX-License-Identifier: Apache-2.0
//
// Config: everything about the library that can be chosen. A program fills it in, and the
// environment overrides it; ops/README.md has the table of variables, ops/session/settings.cc reads
// them.
#pragma once

#include <ringleader/core/log.h>

#include <cstdint>
#include <string>

namespace ringleader {

/// What is passed on to NCCL. 0 and empty: its own choice.
struct NcclConfig {
  /// Reduce inside nodes, then between, then share inside, instead of as NCCL sees the network.
  bool hierarchical = false;

  int ctas_min = 0;      ///< thread blocks that a collective uses
  int ctas_max = 0;      ///< fewer leave more of the GPU to the program
  int cga_size = 0;      ///< thread blocks in a cluster, from 1 to 8
  std::string net_name;  ///< "Socket", "IB", or that of a plugin

  /// Seconds for a communicator to be made; a rank that died meanwhile would be waited for for
  /// ever.
  double connect_timeout_s = 60.0;
};

/// What can be chosen for a session.
struct Config {
  /// Largest batch of fused tensors, in bytes. A single larger tensor travels alone, uncopied.
  /// 4 MiB: on one node a fused 64 MiB buffer was two to three times slower than no fusion.
  std::int64_t fusion_bytes_max = 4 << 20;

  /// Children per node of the announcement tree. Between 4 and 8 the modelled latency is flat.
  int tree_radix = 8;

  /// Names that are remembered, so that later announcements are single bits.
  std::int64_t names_max = 65536;

  /// Name of the backend to try first; empty for the built-in order.
  std::string backend;

  /// Sum by one tree over the ranks whatever the fusion and chunking, so that the same steps give
  /// the same bits.
  bool deterministic = true;

  /// Rows about which algorithm reduces between nodes, tried before the built-in ones; see
  /// collectives/p2p/algorithm_table.h.
  std::string algorithms;

  /// Bytes of one message between nodes; each rank has a few in flight to every other one.
  /// 0: the best of a few sizes, measured when the session begins.
  std::int64_t segment_bytes = 0;

  /// A background thread makes progress between calls. Switched off when MPI was initialized
  /// without thread support; then only waiting makes progress.
  bool background_thread = true;

  /// If every thread of this rank has waited this many seconds, check for deadlock; if no rank can
  /// go on, the operations that wait end with Code::stalled. 0: never check.
  double blocked_grace_s = 1.0;

  /// Seconds that an operation may wait before a warning says for whom; 0: no warning.
  double stall_warning_s = 10.0;

  /// Seconds that an operation may wait before every rank fails with Code::rank_lost; 0: for ever.
  double stall_abort_s = 300.0;

  /// Folder to which each rank writes its last operations when the job fails, on a fatal signal,
  /// and on SIGUSR2. Empty: nothing is written and no signal handler is installed.
  std::string flight_dir;

  /// Ranks with the same name share memory; empty: those that MPI finds on one machine. Lets
  /// network namespaces on one machine act as hosts.
  std::string host_id;

  /// What is passed on to NCCL.
  NcclConfig nccl;

  /// Address space reserved for memory that the ranks of a node share (see allocate()). 0: as much
  /// as the machine has memory. Memory itself is taken when it is given out.
  std::int64_t arena_bytes = 0;

  /// A world of one is meant, though the environment says that this process is one of several.
  bool allow_single = false;

  /// What is logged: this level and heavier ones.
  LogLevel log_level = LogLevel::warning;
};

}  // namespace ringleader
