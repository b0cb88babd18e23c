// SPDX-License-Identifier: Apache-2.0
//
// What allreduce_bench prints and writes.
#pragma once

#include "bench_options.h"
#include "bench_runner.h"

#include <string>
#include <vector>

namespace ringleader::benchmarks {

/// The two placements of one size.
struct SizeRows {
  Row out_of_place;
  Row in_place;
};

void print_header(const BenchOptions& options, int ranks);
void print_row(const BenchOptions& options, int ranks, const SizeRows& rows);

/// Writes all rows to the file; false if it cannot be written.
bool write_json(const BenchOptions& options, int ranks, const std::vector<SizeRows>& sizes);

}  // namespace ringleader::benchmarks
