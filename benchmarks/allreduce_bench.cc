// SPDX-License-Identifier: Apache-2.0
//
// Times a collective through the whole library.
//
//   $ mpirun -np 2 ./allreduce_bench -b 8 -e 64M -f 8 --baseline mpi-best
//
// Flags, columns and bandwidths are those of nccl-tests. Ours, the baseline and the limit run in
// turn on the same buffers; what is compared is always the neighbouring time.
#include "bench_options.h"
#include "bench_report.h"
#include "contenders.h"
#include "interleave.h"

#include <ringleader/ringleader.h>

#include <mpi.h>

#include <cstdio>
#include <vector>

namespace {

using namespace ringleader;
using namespace ringleader::benchmarks;

/// What takes microseconds is run many times per reading of the clock.
int repeats_of(const BenchOptions& options, std::int64_t bytes) {
  if (options.repeats > 0) return options.repeats;
  return bytes <= 64 << 10 ? 50 : 1;
}

Row run_one(const BenchOptions& options, std::int64_t bytes, Placement placement,
            MpiBaseline& mpi_baseline) {
  Row row;
  row.placement = name_of(placement);
  row.count = bytes / static_cast<std::int64_t>(size_of(options.dtype));
  row.bytes = row.count * static_cast<std::int64_t>(size_of(options.dtype));
  const Contenders contenders(options, row.count, placement, mpi_baseline);
  if (options.check != 0) row.wrong = contenders.count_wrong();
  const Timing timing = {options.warmup, options.iterations, repeats_of(options, bytes)};
  const std::vector<std::vector<double>> times = interleave(contenders.all(), timing);
  row.time_us_p50 = quantile(times[0], 0.5);
  row.time_us_p99 = quantile(times[0], 0.99);
  if (const auto limit = contenders.limit()) {
    row.limit_us_p50 = quantile(times[*limit], 0.5);
    row.of_limit = 1 / ratio_of(times[*limit], times[0]).median;
  }
  if (const auto baseline = contenders.baseline()) {
    row.baseline_time_us_p50 = quantile(times[*baseline], 0.5);
    row.vs_baseline = ratio_of(times[0], times[*baseline]);
    row.baseline = contenders.all()[*baseline].name;
  }
  return row;
}

int run(const BenchOptions& options) {
  const bool reports = rank() == 0;
  if (reports) print_header(options, size());
  MpiBaseline mpi_baseline(options.baseline == "mpi-best");
  std::vector<Row> rows;
  std::int64_t wrong = 0;
  for (std::int64_t bytes = options.bytes_min; bytes <= options.bytes_max;
       bytes = options.factor > 1 ? bytes * options.factor : bytes + options.step) {
    for (const Placement placement : options.placements) {
      rows.push_back(run_one(options, bytes, placement, mpi_baseline));
      wrong += rows.back().wrong;
      if (reports) print_row(options, size(), rows.back());
    }
    if (bytes == 0) break;
  }
  if (!reports) return wrong == 0 ? 0 : 1;
  std::printf("# wrong elements: %lld\n", static_cast<long long>(wrong));
  if (!options.json.empty() && !write_json(options, size(), rows)) {
    std::fprintf(stderr, "allreduce_bench: --json %s: cannot be written\n", options.json.c_str());
    return 2;
  }
  return wrong == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  MpiBaseline::prepare();
  // The baseline calls MPI beside the library, so MPI must allow several threads.
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided);
  int world_rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
  const BenchOptions options = parse_options(argc, argv, world_rank == 0);
  int result = 1;
  try {
    InitOptions init_options;
    init_options.config.backend = options.backend;
    const Session session(init_options);
    result = run(options);
  } catch (const Error& error) {
    if (world_rank == 0) std::fprintf(stderr, "allreduce_bench: %s\n", error.what());
    result = error.code() == Code::invalid_argument ? 2 : 1;
  }
  MPI_Finalize();
  return result;
}
