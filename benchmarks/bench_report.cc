// SPDX-License-Identifier: Apache-2.0
#include "bench_report.h"

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include <fstream>

namespace ringleader::benchmarks {
namespace {

std::string backend_name(const BenchOptions& options) {
  return options.backend.empty() ? "default" : options.backend;
}

std::string cells(const BenchOptions& options, int ranks, const Row& row) {
  std::string text =
      fmt::format("{:>10.2f} {:>8.2f} {:>8.2f} {:>7}", row.time_us_p50, row.algbw_gbps(),
                  row.busbw_gbps(ranks), options.check != 0 ? std::to_string(row.wrong) : "N/A");
  if (row.vs_baseline) {
    text += fmt::format(" {:>10.2f} {:>6.2f}", *row.baseline_time_us_p50, *row.vs_baseline);
  }
  return text;
}

nlohmann::json to_json(const BenchOptions& options, int ranks, const Row& row) {
  nlohmann::json json = {{"op", "allreduce"},
                         {"backend", backend_name(options)},
                         {"placement", row.placement},
                         {"ranks", ranks},
                         {"dtype", name_of(options.dtype)},
                         {"redop", name_of(options.op)},
                         {"bytes", row.bytes},
                         {"count", row.count},
                         {"time_us_p50", row.time_us_p50},
                         {"time_us_p99", row.time_us_p99},
                         {"algbw_gbps", row.algbw_gbps()},
                         {"busbw_gbps", row.busbw_gbps(ranks)},
                         {"wrong", row.wrong}};
  if (row.vs_baseline) {
    json["baseline"] = options.baseline;
    json["baseline_time_us_p50"] = *row.baseline_time_us_p50;
    json["vs_baseline"] = *row.vs_baseline;
  }
  return json;
}

}  // namespace

void print_header(const BenchOptions& options, int ranks) {
  const bool compares = options.baseline != "none";
  const std::string side =
      fmt::format("{:>10} {:>8} {:>8} {:>7}", "time", "algbw", "busbw", "#wrong") +
      (compares ? fmt::format(" {:>10} {:>6}", options.baseline, "ratio") : "");
  const std::string units =
      fmt::format("{:>10} {:>8} {:>8} {:>7}", "(us)", "(GB/s)", "(GB/s)", "") +
      (compares ? fmt::format(" {:>10} {:>6}", "(us)", "") : "");
  fmt::print(
      "# {} ranks, backend {}, {} warm-up and {} timed iterations; times are medians of the "
      "slowest rank's\n",
      ranks, backend_name(options), options.warmup, options.iterations);
  fmt::print("# {:>11} {:>12} {:>6} {:>7}  {:<{}}  {}\n", "", "", "", "", "out-of-place",
             side.size(), "in-place");
  fmt::print("# {:>11} {:>12} {:>6} {:>7}  {}  {}\n", "size", "count", "type", "redop", side, side);
  fmt::print("# {:>11} {:>12} {:>6} {:>7}  {}  {}\n", "(B)", "(elements)", "", "", units, units);
}

void print_row(const BenchOptions& options, int ranks, const SizeRows& rows) {
  fmt::print("  {:>11} {:>12} {:>6} {:>7}  {}  {}\n", rows.in_place.bytes, rows.in_place.count,
             name_of(options.dtype), name_of(options.op), cells(options, ranks, rows.out_of_place),
             cells(options, ranks, rows.in_place));
  std::fflush(stdout);
}

bool write_json(const BenchOptions& options, int ranks, const std::vector<SizeRows>& sizes) {
  nlohmann::json rows = nlohmann::json::array();
  for (const SizeRows& size : sizes) {
    rows.push_back(to_json(options, ranks, size.out_of_place));
    rows.push_back(to_json(options, ranks, size.in_place));
  }
  std::ofstream file(options.json);
  file << rows.dump(2) << "\n";
  return file.good();
}

}  // namespace ringleader::benchmarks
