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

nlohmann::ordered_json to_json(const BenchOptions& options, int ranks, const Row& row) {
  nlohmann::ordered_json json = {{"op", name_of(options.verb)},
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
                                 {"busbw_gbps", row.busbw_gbps(options.verb, ranks)},
                                 {"wrong", row.wrong}};
  if (row.limit_us_p50) {
    json["limit_us_p50"] = *row.limit_us_p50;
    json["of_limit"] = row.of_limit;
  }
  if (row.baseline_time_us_p50) {
    json["baseline"] = row.baseline;
    json["baseline_time_us_p50"] = *row.baseline_time_us_p50;
    json["vs_baseline"] = row.vs_baseline.median;
    json["vs_baseline_q25"] = row.vs_baseline.q25;
    json["vs_baseline_q75"] = row.vs_baseline.q75;
  }
  return json;
}

}  // namespace

double Row::busbw_gbps(Op verb, int ranks) const {
  const double others = static_cast<double>(ranks - 1) / ranks;
  if (verb == Op::broadcast) return algbw_gbps();
  return algbw_gbps() * (verb == Op::allreduce ? 2 * others : others);
}

void print_header(const BenchOptions& options, int ranks) {
  fmt::print(
      "# {} on {} ranks, backend {}, {} warm-up and {} timed iterations; times are medians of the "
      "slowest rank's\n",
      name_of(options.verb), ranks, backend_name(options), options.warmup, options.iterations);
  fmt::print("# {:>11} {:>12} {:>6} {:>7} {:>10} {:>10} {:>8} {:>8} {:>7} {:>10} {:>10} {:>6}",
             "size", "count", "type", "redop", "placement", "time", "algbw", "busbw", "#wrong",
             "p99", "limit", "of it");
  if (options.baseline != "none") fmt::print(" {:>10} {:>17}", "baseline", "vs (q25-q75)");
  fmt::print("\n# {:>11} {:>12} {:>6} {:>7} {:>10} {:>10} {:>8} {:>8} {:>7} {:>10} {:>10}\n", "(B)",
             "(elements)", "", "", "", "(us)", "(GB/s)", "(GB/s)", "", "(us)", "(us)");
}

void print_row(const BenchOptions& options, int ranks, const Row& row) {
  fmt::print("  {:>11} {:>12} {:>6} {:>7} {:>10} {:>10.2f} {:>8.2f} {:>8.2f} {:>7} {:>10.2f}",
             row.bytes, row.count, name_of(options.dtype), name_of(options.op), row.placement,
             row.time_us_p50, row.algbw_gbps(), row.busbw_gbps(options.verb, ranks),
             options.check != 0 ? std::to_string(row.wrong) : "N/A", row.time_us_p99);
  if (row.limit_us_p50) {
    fmt::print(" {:>10.2f} {:>6.2f}", *row.limit_us_p50, row.of_limit);
  } else {
    fmt::print(" {:>10} {:>6}", "-", "-");
  }
  if (row.baseline_time_us_p50) {
    fmt::print(" {:>10.2f} {:>5.2f} ({:.2f}-{:.2f})  {}", *row.baseline_time_us_p50,
               row.vs_baseline.median, row.vs_baseline.q25, row.vs_baseline.q75, row.baseline);
  }
  fmt::print("\n");
  std::fflush(stdout);
}

bool write_json(const BenchOptions& options, int ranks, const std::vector<Row>& rows) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const Row& row : rows) all.push_back(to_json(options, ranks, row));
  std::ofstream file(options.json);
  file << all.dump(2) << "\n";
  return file.good();
}

}  // namespace ringleader::benchmarks
