// SPDX-License-Identifier: Apache-2.0
//
// Contenders: the ways of running one collective of one size that are compared: ours, the limit,
// and the baseline, all on the same buffers.
#pragma once

#include "bench_options.h"
#include "buffers.h"
#include "interleave.h"
#include "mpi_baseline.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace ringleader::benchmarks {

class Contenders {
 public:
  /// `count` elements: of the whole buffer, as nccl-tests counts. Collective.
  Contenders(const BenchOptions& options, std::int64_t count, Placement placement,
             MpiBaseline& mpi_baseline);

  /// Ours is the first.
  const std::vector<Contender>& all() const { return all_; }
  std::optional<std::size_t> limit() const { return limit_; }
  std::optional<std::size_t> baseline() const { return baseline_; }

  /// Runs ours once on known numbers (allreduce). Collective.
  std::int64_t count_wrong() const;

 private:
  void add_ours(const BenchOptions& options);
  void add_limit(const BenchOptions& options, Placement placement);
  void add_baseline(const BenchOptions& options, MpiBaseline& mpi_baseline);
  std::function<void()> raw_mpi(const BenchOptions& options) const;

  Op verb_;
  ReduceOp op_;
  DType dtype_;
  std::int64_t count_;
  std::int64_t block_;  ///< elements of one rank's block: the whole for allreduce and broadcast
  mutable Buffers buffers_;
  std::vector<Contender> all_;
  std::optional<std::size_t> limit_;
  std::optional<std::size_t> baseline_;
};

}  // namespace ringleader::benchmarks
