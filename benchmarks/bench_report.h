// SPDX-License-Identifier: Apache-2.0
//
// What allreduce_bench prints and writes.
#pragma once

#include "bench_options.h"
#include "interleave.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ringleader::benchmarks {

/// One size and one placement.
struct Row {
  std::string placement;
  std::int64_t bytes = 0;
  std::int64_t count = 0;  ///< elements
  double time_us_p50 = 0;  ///< of the slowest rank of each iteration
  double time_us_p99 = 0;
  std::int64_t wrong = 0;  ///< elements, over all ranks

  std::optional<double> limit_us_p50;  ///< the same loads and stores without synchronization
  double of_limit = 0;                 ///< its time over ours

  std::string baseline;  ///< which algorithm of it
  std::optional<double> baseline_time_us_p50;
  Ratio vs_baseline;  ///< its time over ours: above 1 we are faster

  /// nccl-tests' definitions: bytes / time, and that times a factor of the collective.
  double algbw_gbps() const { return static_cast<double>(bytes) / time_us_p50 / 1e3; }
  double busbw_gbps(Op verb, int ranks) const;
};

void print_header(const BenchOptions& options, int ranks);
void print_row(const BenchOptions& options, int ranks, const Row& row);

/// Writes all rows to the file; false if it cannot be written.
bool write_json(const BenchOptions& options, int ranks, const std::vector<Row>& rows);

}  // namespace ringleader::benchmarks
