// SPDX-License-Identifier: Apache-2.0
//
// Config: all settings of the library. A program fills it in, and environment variables override
// it. ops/README.md lists the variables; ops/session/settings.cc reads them.
#pragma once

#include <ringleader/core/log.h>

#include <cstdint>
#include <string>

namespace ringleader {

/// Settings passed to NCCL. 0 or empty: NCCL chooses.
struct NcclConfig {
  /// Reduce within nodes, then between them, then share the result within nodes, instead of
  /// following NCCL's view of the network.
  bool hierarchical = false;

  int ctas_min = 0;      ///< least number of thread blocks per collective
  int ctas_max = 0;      ///< most; fewer leave more of the GPU to the program
  int cga_size = 0;      ///< thread blocks in a cluster, from 1 to 8
  std::string net_name;  ///< "Socket", "IB", or a plugin's name

  /// Seconds to wait for a communicator to be created. Without a limit, a rank that died meanwhile
  /// would be waited for forever.
  double connect_timeout_s = 60.0;
};

/// Settings of a session.
struct Config {
  /// Largest batch of fused tensors, in bytes. A single larger tensor travels alone, uncopied.
  /// 4 MiB: on one node, fusing into a 64 MiB buffer was two to three times slower than no fusion.
  std::int64_t fusion_bytes_max = 4 << 20;

  /// Children per node of the announcement tree. Between 4 and 8 the modelled latency is flat.
  int tree_radix = 8;

  /// How many names to remember; announcing a remembered name takes a single bit.
  std::int64_t names_max = 65536;

  /// Name of the backend to try first; empty for the built-in order.
  std::string backend;

  /// Always sum along one tree over the ranks, regardless of fusion and chunking, so that the same
  /// steps give bitwise the same results.
  bool deterministic = true;

  /// Rows that say which algorithm reduces between nodes. They are tried before the built-in rows;
  /// see collectives/p2p/algorithm_table.h.
  std::string algorithms;

  /// Bytes per message between nodes; each rank has a few messages in flight to every other rank.
  /// 0: measure a few sizes when the session begins and use the best.
  std::int64_t segment_bytes = 0;

  /// A background thread makes progress between calls. Switched off when MPI was initialized
  /// without thread support; then only waiting makes progress.
  bool background_thread = true;

  /// If every thread of this rank has waited this many seconds, check for deadlock; if no rank can
  /// go on, the operations that wait end with Code::stalled. 0: never check.
  double blocked_grace_s = 1.0;

  /// Seconds an operation may wait before a warning says whom it waits for; 0: no warning.
  double stall_warning_s = 10.0;

  /// Seconds an operation may wait before every rank fails with Code::rank_lost; 0: no limit.
  double stall_abort_s = 300.0;

  /// Folder to which each rank writes its last operations when the job fails, on a fatal signal,
  /// and on SIGUSR2. Empty: nothing is written and no signal handler is installed.
  std::string flight_dir;

  /// Ranks with the same name share memory. Empty: the ranks that MPI finds on one machine do.
  /// This lets network namespaces on one machine act as nodes.
  std::string host_id;

  /// Settings passed to NCCL.
  NcclConfig nccl;

  /// Bytes of address space to reserve for memory that the ranks of a node share (see allocate()).
  /// 0: as much as the machine has memory. The memory itself is taken only when it is handed out.
  /// An allocate() before init() reserves it by the environment alone.
  std::int64_t arena_bytes = 0;

  /// Run as a world of one even if the environment says that this process is one of several.
  bool allow_single = false;

  /// Log messages of this level and above.
  LogLevel log_level = LogLevel::warning;
};

}  // namespace ringleader
