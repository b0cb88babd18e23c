// SPDX-License-Identifier: Apache-2.0
//
// Times allreduce through the whole library.
//
//   $ mpirun -np 2 ./allreduce_bench -b 8 -e 64M -f 8 --baseline mpi
//
// Flags, columns and bandwidths are those of nccl-tests' all_reduce_perf. With --baseline mpi, raw
// MPI_Allreduce runs on the same buffers in turn with ours, and `ratio` is its time over ours.
#include "bench_options.h"
#include "bench_report.h"
#include "bench_runner.h"

#include <ringleader/ringleader.h>

#include <mpi.h>

#include <cstdio>
#include <vector>

namespace {

using namespace ringleader;
using namespace ringleader::benchmarks;

int run(const BenchOptions& options) {
  const bool reports = rank() == 0;
  if (reports) print_header(options, size());
  std::vector<SizeRows> sizes;
  std::int64_t wrong = 0;
  for (std::int64_t bytes = options.bytes_min; bytes <= options.bytes_max;
       bytes = options.factor > 1 ? bytes * options.factor : bytes + options.step) {
    sizes.push_back({run_size(options, bytes, false), run_size(options, bytes, true)});
    wrong += sizes.back().out_of_place.wrong + sizes.back().in_place.wrong;
    if (reports) print_row(options, size(), sizes.back());
    if (bytes == 0) break;
  }
  if (!reports) return wrong == 0 ? 0 : 1;
  std::printf("# wrong elements: %lld\n", static_cast<long long>(wrong));
  if (!options.json.empty() && !write_json(options, size(), sizes)) {
    std::fprintf(stderr, "allreduce_bench: --json %s: cannot be written\n", options.json.c_str());
    return 2;
  }
  return wrong == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
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
