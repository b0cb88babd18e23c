// SPDX-License-Identifier: Apache-2.0
#include "bench_runner.h"

#include <ringleader/collectives/mpi/datatypes.h>
#include <ringleader/ringleader.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <limits>

namespace ringleader::benchmarks {
namespace {

using Clock = std::chrono::steady_clock;

/// Small numbers whose sums and products are exact in every element type.
int element(int rank, std::int64_t index, ReduceOp op) {
  if (op == ReduceOp::product) return 1 + static_cast<int>((index + rank) % 2);
  return static_cast<int>((index + 3 * rank) % 7);
}

double expected_element(int ranks, std::int64_t index, ReduceOp op) {
  double total = element(0, index, op);
  for (int rank = 1; rank < ranks; ++rank) {
    const double next = element(rank, index, op);
    if (op == ReduceOp::min) total = std::min(total, next);
    if (op == ReduceOp::max) total = std::max(total, next);
    if (op == ReduceOp::product) total *= next;
    if (op == ReduceOp::sum || op == ReduceOp::average) total += next;
  }
  return op == ReduceOp::average ? total / ranks : total;
}

void fill(std::vector<std::byte>& data, std::int64_t count, const BenchOptions& options) {
  with_type(options.dtype, [&](auto zero) {
    using T = decltype(zero);
    T* values = reinterpret_cast<T*>(data.data());
    for (std::int64_t i = 0; i < count; ++i) {
      values[i] = static_cast<T>(static_cast<float>(element(rank(), i, options.op)));
    }
  });
}

std::int64_t count_wrong(const std::vector<std::byte>& data, std::int64_t count,
                         const BenchOptions& options) {
  std::int64_t wrong = 0;
  with_type(options.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* values = reinterpret_cast<const T*>(data.data());
    const double tolerance = options.dtype == DType::bf16 ? 1e-2 : 1e-3;
    for (std::int64_t i = 0; i < count; ++i) {
      const double expected = expected_element(size(), i, options.op);
      const double actual = static_cast<double>(static_cast<float>(values[i]));
      const double limit = is_floating_point(options.dtype) ? tolerance * expected : 0.999;
      if (actual - expected > limit || expected - actual > limit) ++wrong;
    }
  });
  MPI_Allreduce(MPI_IN_PLACE, &wrong, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
  return wrong;
}

/// Microseconds of one run, on the slowest rank.
double time_us(const std::function<void()>& run) {
  MPI_Barrier(MPI_COMM_WORLD);
  const Clock::time_point start = Clock::now();
  run();
  double elapsed = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
  MPI_Allreduce(MPI_IN_PLACE, &elapsed, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return elapsed;
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

}  // namespace

Row run_size(const BenchOptions& options, std::int64_t bytes, bool in_place) {
  const auto element_bytes = static_cast<std::int64_t>(size_of(options.dtype));
  const std::int64_t count = bytes / element_bytes;
  std::vector<std::byte> input(static_cast<std::size_t>(count * element_bytes));
  std::vector<std::byte> output(in_place ? 0 : input.size());
  void* result = in_place ? input.data() : output.data();
  const ConstTensorView in(input.data(), {count}, options.dtype);
  const TensorView out(result, {count}, options.dtype);
  const std::function<void()> ours = [&] { allreduce("bench", in, out, options.op); };
  const std::function<void()> raw = [&] {
    MPI_Allreduce(in_place ? MPI_IN_PLACE : input.data(), result, static_cast<int>(count),
                  mpi::datatype_of(options.dtype), mpi::op_of(options.op), MPI_COMM_WORLD);
  };
  // MPI has no 16-bit floats, and its count is an int.
  const bool half = options.dtype == DType::f16 || options.dtype == DType::bf16;
  const bool baseline =
      options.baseline == "mpi" && !half && count <= std::numeric_limits<int>::max();

  Row row;
  row.placement = in_place ? "inplace" : "outofplace";
  row.bytes = count * element_bytes;
  row.count = count;
  if (options.check != 0) {
    fill(input, count, options);
    ours();
    row.wrong = count_wrong(in_place ? input : output, count, options);
  }
  // Zeros stay zeros, so that repeated reductions in place do not overflow.
  std::memset(input.data(), 0, input.size());
  std::vector<double> times;
  std::vector<double> raw_times;
  std::vector<double> ratios;
  for (int i = -options.warmup; i < options.iterations; ++i) {
    const double mine = time_us(ours);
    const double theirs = baseline ? time_us(raw) : 0;
    if (i < 0) continue;
    times.push_back(mine);
    raw_times.push_back(theirs);
    ratios.push_back(theirs / mine);
  }
  row.time_us_p50 = quantile(times, 0.5);
  row.time_us_p99 = quantile(times, 0.99);
  if (baseline) {
    row.baseline_time_us_p50 = quantile(raw_times, 0.5);
    row.vs_baseline = quantile(ratios, 0.5);
  }
  return row;
}

}  // namespace ringleader::benchmarks
