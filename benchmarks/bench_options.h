// SPDX-License-Identifier: Apache-2.0
//
// The command line of allreduce_bench: the flags of nccl-tests, and a few of our own.
#pragma once

#include "buffers.h"

#include <ringleader/core/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ringleader::benchmarks {

struct BenchOptions {
  std::int64_t bytes_min = 32 << 20;
  std::int64_t bytes_max = 32 << 20;
  std::int64_t factor = 2;      ///< from one size to the next; 1: by step
  std::int64_t step = 1 << 20;  ///< bytes
  DType dtype = DType::f32;
  ReduceOp op = ReduceOp::sum;
  int warmup = 5;
  int iterations = 20;
  int check = 1;
  int repeats = 0;       ///< runs per measured time; 0: by size
  bool enqueue = false;  ///< device memory: the calls alone, not what the device does
  Op verb = Op::allreduce;
  std::vector<Placement> placements = {Placement::outofplace, Placement::inplace, Placement::arena};
  std::string backend;
  std::string baseline = "none";
  std::string json;
};

/// "8", "64K", "4M", "1G".
std::optional<std::int64_t> parse_bytes(const std::string& text);

/// Exits with 0 after --help and with 2 for a wrong option; only `is_reporter` prints.
BenchOptions parse_options(int argc, char** argv, bool is_reporter);

}  // namespace ringleader::benchmarks
