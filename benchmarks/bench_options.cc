// SPDX-License-Identifier: Apache-2.0
#include "bench_options.h"

#include <CLI/CLI.hpp>

#include <cstdlib>
#include <iostream>
#include <map>

namespace ringleader::benchmarks {
namespace {

/// nccl-tests' names and our own.
const std::map<std::string, DType>& dtypes() {
  static const std::map<std::string, DType> names = {
      {"uint8", DType::u8},    {"int8", DType::i8},       {"int16", DType::i16},
      {"int32", DType::i32},   {"int64", DType::i64},     {"half", DType::f16},
      {"float16", DType::f16}, {"bfloat16", DType::bf16}, {"float", DType::f32},
      {"float32", DType::f32}, {"double", DType::f64},    {"float64", DType::f64}};
  return names;
}

const std::map<std::string, ReduceOp>& reduce_ops() {
  static const std::map<std::string, ReduceOp> names = {{"sum", ReduceOp::sum},
                                                        {"avg", ReduceOp::average},
                                                        {"min", ReduceOp::min},
                                                        {"max", ReduceOp::max},
                                                        {"prod", ReduceOp::product}};
  return names;
}

const std::map<std::string, Op>& verbs() {
  static const std::map<std::string, Op> names = {{"allreduce", Op::allreduce},
                                                  {"allgather", Op::allgather},
                                                  {"broadcast", Op::broadcast},
                                                  {"reduce_scatter", Op::reduce_scatter},
                                                  {"alltoall", Op::alltoall}};
  return names;
}

const std::map<std::string, Placement>& placements() {
  static const std::map<std::string, Placement> names = {{"arena", Placement::arena},
                                                         {"inplace", Placement::inplace},
                                                         {"outofplace", Placement::outofplace},
                                                         {"device", Placement::device}};
  return names;
}

[[noreturn]] void stop(bool is_reporter, int code, const std::string& text) {
  if (is_reporter) (code == 0 ? std::cout : std::cerr) << text;
  std::exit(code);
}

}  // namespace

std::optional<std::int64_t> parse_bytes(const std::string& text) {
  std::size_t used = 0;
  std::int64_t number = 0;
  try {
    number = std::stoll(text, &used);
  } catch (const std::exception&) {
    return std::nullopt;
  }
  if (number < 0 || text.size() > used + 1) return std::nullopt;
  if (text.size() == used) return number;
  const std::size_t unit = std::string("KMG").find(text.back());
  if (unit == std::string::npos) return std::nullopt;
  return number << (10 * (unit + 1));
}

BenchOptions parse_options(int argc, char** argv, bool is_reporter) {
  BenchOptions options;
  std::string minimum = "32M";
  std::string maximum = "32M";
  std::string step = "1M";
  std::string dtype = "float";
  std::string op = "sum";
  std::string verb = "allreduce";
  std::vector<std::string> chosen;
  CLI::App app("Times collectives, as nccl-tests does", "allreduce_bench");
  app.add_option("-b,--minbytes", minimum, "smallest size")->capture_default_str();
  app.add_option("-e,--maxbytes", maximum, "largest size")->capture_default_str();
  app.add_option("-f,--stepfactor", options.factor, "factor between sizes; 1: use -i")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("-i,--stepbytes", step, "bytes between sizes")->capture_default_str();
  app.add_option("-d,--datatype", dtype, "element type")
      ->check(CLI::IsMember(dtypes()))
      ->capture_default_str();
  app.add_option("-o,--op", op, "reduction")
      ->check(CLI::IsMember(reduce_ops()))
      ->capture_default_str();
  app.add_option("-w,--warmup_iters", options.warmup, "untimed iterations")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  app.add_option("-n,--iters", options.iterations, "timed iterations")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("-c,--check", options.check, "count wrong elements")
      ->check(CLI::Range(0, 1))
      ->capture_default_str();
  app.add_option("-m,--agg_iters", options.repeats, "runs per measured time; 0: by size")
      ->check(CLI::Range(0, 1000000));
  app.add_option("--verb", verb, "which collective")
      ->check(CLI::IsMember(verbs()))
      ->capture_default_str();
  app.add_option("--placement", chosen, "where the tensors are; all of them if not given")
      ->check(CLI::IsMember(placements()));
  app.add_option("--backend", options.backend, "backend to use; empty: the library's choice");
  app.add_option("--baseline", options.baseline, "what to compare with, interleaved")
      ->check(CLI::IsMember({"none", "mpi", "mpi-best", "gloo", "nccl"}))
      ->capture_default_str();
  app.add_flag("--enqueue", options.enqueue,
               "device memory: time the calls that enqueue, and not what the device does");
  app.add_option("--json", options.json, "file for the rows as JSON");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    stop(is_reporter, 0, app.help());
  } catch (const CLI::ParseError& error) {
    stop(is_reporter, 2, std::string("allreduce_bench: ") + error.what() + "\n");
  }
  const auto bytes = [&](const char* name, const std::string& text) {
    const std::optional<std::int64_t> value = parse_bytes(text);
    if (!value) stop(is_reporter, 2, std::string("allreduce_bench: ") + name + ": not a size\n");
    return *value;
  };
  options.bytes_min = bytes("-b", minimum);
  options.bytes_max = bytes("-e", maximum);
  options.step = std::max<std::int64_t>(1, bytes("-i", step));
  options.dtype = dtypes().at(dtype);
  options.op = reduce_ops().at(op);
  options.verb = verbs().at(verb);
  if (!chosen.empty()) options.placements.clear();
  for (const std::string& name : chosen) options.placements.push_back(placements().at(name));
  return options;
}

}  // namespace ringleader::benchmarks
