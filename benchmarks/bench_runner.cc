// SPDX-License-Identifier: Apache-2.0
#include "bench_runner.h"

#include <ringleader/ringleader.h>

#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>

namespace ringleader::benchmarks {
namespace {

using Clock = std::chrono::steady_clock;

MPI_Datatype mpi_type(DType dtype) {
  switch (dtype) {
    case DType::u8:
      return MPI_UINT8_T;
    case DType::i8:
      return MPI_INT8_T;
    case DType::i16:
      return MPI_INT16_T;
    case DType::i32:
      return MPI_INT32_T;
    case DType::i64:
      return MPI_INT64_T;
    case DType::f32:
      return MPI_FLOAT;
    case DType::f64:
      return MPI_DOUBLE;
    default:
      return MPI_DATATYPE_NULL;
  }
}

MPI_Op mpi_op(ReduceOp op) {
  switch (op) {
    case ReduceOp::min:
      return MPI_MIN;
    case ReduceOp::max:
      return MPI_MAX;
    case ReduceOp::product:
      return MPI_PROD;
    default:
      return MPI_SUM;
  }
}

/// Calls visit(T()) with the C++ type of `dtype`.
template <typename Visit>
void with_type(DType dtype, Visit visit) {
  switch (dtype) {
    case DType::u8:
      return visit(std::uint8_t());
    case DType::i8:
      return visit(std::int8_t());
    case DType::i16:
      return visit(std::int16_t());
    case DType::i32:
      return visit(std::int32_t());
    case DType::i64:
      return visit(std::int64_t());
    case DType::f16:
      return visit(Float16());
    case DType::bf16:
      return visit(BFloat16());
    case DType::f32:
      return visit(float());
    case DType::f64:
      return visit(double());
  }
}

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
                  mpi_type(options.dtype), mpi_op(options.op), MPI_COMM_WORLD);
  };
  const bool baseline = options.baseline == "mpi" && mpi_type(options.dtype) != MPI_DATATYPE_NULL;

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
