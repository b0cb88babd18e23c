// SPDX-License-Identifier: Apache-2.0
//
// Runs one size: our allreduce and, interleaved with it on the same buffers, raw MPI_Allreduce.
#pragma once

#include "bench_options.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ringleader::benchmarks {

/// What is reported for one size and one placement.
struct Row {
  std::string placement;  ///< "inplace" or "outofplace"
  std::int64_t bytes = 0;
  std::int64_t count = 0;  ///< elements
  double time_us_p50 = 0;  ///< of the slowest rank of each iteration
  double time_us_p99 = 0;
  std::int64_t wrong = 0;  ///< elements, over all ranks
  std::optional<double> baseline_time_us_p50;

  /// nccl-tests' definitions: bytes / time, and that times 2 (P - 1) / P.
  double algbw_gbps() const { return static_cast<double>(bytes) / time_us_p50 / 1e3; }
  double busbw_gbps(int ranks) const { return algbw_gbps() * 2 * (ranks - 1) / ranks; }

  /// The baseline's time divided by ours: the median of the ratios of neighbouring iterations.
  std::optional<double> vs_baseline;
};

/// Runs `bytes` in the given placement. Collective.
Row run_size(const BenchOptions& options, std::int64_t bytes, bool in_place);

}  // namespace ringleader::benchmarks
