// SPDX-License-Identifier: Apache-2.0
//
// Times what happens to gradients on a GPU around a collective: packing, unpacking, scaling, with
// the exact gradient lists of known models, each tensor in memory of its own:
//
//   $ ./pack_bench --model resnet50
//
//   pack, unpack    one launch of our kernel
//   pack x 0.5      the same, multiplied on the way; bf16: and rounded to 16 bits
//   per tensor      one cudaMemcpyAsync for each tensor
//   copy            one cudaMemcpyAsync of all the bytes: what the memory can do
//
// GB/s count every byte of f32 once read and once written, also where half of it is written. Exits
// with 77 without a GPU.
#include "gradient_lists.h"

#include <ringleader/collectives/nccl/fusion_kernels.h>
#include <ringleader/collectives/nccl/handles.h>
#include <ringleader/collectives/nccl/nccl_backend.h>

#include <fmt/core.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace {

using namespace ringleader;
using namespace ringleader::benchmarks;

struct Options {
  std::string model;
  int rounds = 30;
  int repeats = 20;
  std::string json;
};

void check(cudaError_t code, const char* call) { throw_if_error(nccl::checked(code, call)); }

/// A model's gradients, and the buffer into which they are packed.
class Gradients {
 public:
  Gradients(const std::vector<std::int64_t>& counts, DevicePort& device) {
    auto group = std::make_shared<Group>();
    group->ranks = {0};
    batch_.group = group;
    for (const std::int64_t count : counts) {
      // A page of its own: the gradients of a program do not lie one behind the other.
      auto memory = device.allocate(static_cast<std::size_t>(count) * sizeof(float) + 4096);
      throw_if_error(memory.status());
      batch_.tensors.push_back({memory->get(), memory->get(), count});
      memory_.push_back(*memory);
    }
    transfer_ = nccl::transfer_of(batch_);
    table_ = nccl::inputs_of(batch_, transfer_, &pinned_).at(0);
    for (auto* const side : {&wire_, &copy_}) {
      auto memory = device.allocate(static_cast<std::size_t>(transfer_.count) * sizeof(float));
      throw_if_error(memory.status());
      *side = *memory;
    }
  }

  std::size_t bytes() const { return static_cast<std::size_t>(batch_.count()) * sizeof(float); }

  void pack(nccl::FusionKernels& kernels, DType wire = DType::f32, double factor = 1.0) const {
    throw_if_error(kernels.pack(table_, wire_.get(), wire, {factor, 1}));
  }
  void unpack(nccl::FusionKernels& kernels) const {
    throw_if_error(kernels.unpack(table_, wire_.get(), DType::f32, {}));
  }
  void copy_each(cudaStream_t stream) const {
    for (const nccl::Piece& piece : table_.pieces) {
      auto* const to = reinterpret_cast<float*>(wire_.get()) + piece.wire_begin;
      check(cudaMemcpyAsync(to, piece.memory, static_cast<std::size_t>(piece.count) * sizeof(float),
                            cudaMemcpyDeviceToDevice, stream),
            "cudaMemcpyAsync");
    }
  }
  void copy_all(cudaStream_t stream) const {
    check(cudaMemcpyAsync(copy_.get(), wire_.get(), bytes(), cudaMemcpyDeviceToDevice, stream),
          "cudaMemcpyAsync");
  }

 private:
  Batch batch_;
  std::vector<std::shared_ptr<std::byte>> memory_;
  nccl::Transfer transfer_;
  nccl::PinnedMemory pinned_;
  nccl::FusionTable table_{DType::f32, &pinned_};
  std::shared_ptr<std::byte> wire_;
  std::shared_ptr<std::byte> copy_;
};

/// Microseconds of one call, by the device's clock, launches included.
class Stopwatch {
 public:
  Stopwatch() {
    check(cudaEventCreate(&begin_), "cudaEventCreate");
    check(cudaEventCreate(&end_), "cudaEventCreate");
  }
  ~Stopwatch() {
    static_cast<void>(cudaEventDestroy(begin_));
    static_cast<void>(cudaEventDestroy(end_));
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  double time(const std::function<void()>& run, int repeats, cudaStream_t stream) {
    check(cudaEventRecord(begin_, stream), "cudaEventRecord");
    for (int i = 0; i < repeats; ++i) run();
    check(cudaEventRecord(end_, stream), "cudaEventRecord");
    check(cudaEventSynchronize(end_), "cudaEventSynchronize");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, begin_, end_), "cudaEventElapsedTime");
    return double{ms} * 1e3 / repeats;
  }

 private:
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

nlohmann::ordered_json run(const Options& options, const std::string& model) {
  const std::shared_ptr<DevicePort> device =
      nccl::make_cuda_device(std::make_shared<nccl::ChosenDevice>(0));
  const Gradients gradients(models().at(model), *device);
  auto made = nccl::Stream::create();
  throw_if_error(made.status());
  const nccl::Stream stream = std::move(*made);
  nccl::FusionKernels kernels(stream.get());
  const std::vector<std::pair<std::string, std::function<void()>>> ways = {
      {"copy", [&] { gradients.copy_all(stream.get()); }},
      {"pack", [&] { gradients.pack(kernels); }},
      {"unpack", [&] { gradients.unpack(kernels); }},
      {"pack x 0.5", [&] { gradients.pack(kernels, DType::f32, 0.5); }},
      {"pack x 0.5 bf16", [&] { gradients.pack(kernels, DType::bf16, 0.5); }},
      {"per tensor", [&] { gradients.copy_each(stream.get()); }}};
  Stopwatch stopwatch;
  std::vector<std::vector<double>> times(ways.size());
  for (int round = -3; round < options.rounds; ++round) {  // the first ones warm up
    for (std::size_t way = 0; way < ways.size(); ++way) {
      const double us = stopwatch.time(ways[way].second, options.repeats, stream.get());
      if (round >= 0) times[way].push_back(us);
    }
  }
  nlohmann::ordered_json rows;
  double copy_us = 0;
  for (std::size_t way = 0; way < ways.size(); ++way) {
    std::sort(times[way].begin(), times[way].end());
    const double us = times[way][times[way].size() / 2];
    if (way == 0) copy_us = us;
    rows.push_back({{"model", model},
                    {"way", ways[way].first},
                    {"bytes", gradients.bytes()},
                    {"time_us_p50", us},
                    {"gb_per_s", 2.0 * static_cast<double>(gradients.bytes()) / us / 1e3},
                    {"of_copy", copy_us / us}});
  }
  return rows;
}

void print(const nlohmann::ordered_json& rows) {
  for (const auto& row : rows) {
    fmt::print("{:12} {:16} {:>12} {:>10.1f} us {:>9.1f} GB/s {:>6.2f} of copy\n",
               row["model"].get<std::string>(), row["way"].get<std::string>(),
               row["bytes"].get<std::int64_t>(), row["time_us_p50"].get<double>(),
               row["gb_per_s"].get<double>(), row["of_copy"].get<double>());
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Packing and unpacking of gradients on a GPU", "pack_bench");
  app.add_option("--model", options.model, "default: all")->check(CLI::IsMember(models()));
  app.add_option("-n,--iters", options.rounds)->check(CLI::Range(1, 100'000));
  app.add_option("-m,--agg_iters", options.repeats)->check(CLI::Range(1, 100'000));
  app.add_option("--json", options.json, "file for the result");
  CLI11_PARSE(app, argc, argv);
  if (nccl::device_count() == 0) {
    fmt::print("skipped: there is no GPU here\n");
    return 77;
  }
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const auto& [model, counts] : models()) {
    if (!options.model.empty() && model != options.model) continue;
    const nlohmann::ordered_json rows = run(options, model);
    print(rows);
    all.insert(all.end(), rows.begin(), rows.end());
  }
  if (!options.json.empty()) std::ofstream(options.json) << all.dump(2) << "\n";
  return 0;
}
