// SPDX-License-Identifier: Apache-2.0
//
// Steps of a LibTorch model under what LibTorch itself has: c10d::Reducer, the engine of PyTorch's
// DistributedDataParallel, over Gloo, which is part of Debian's package though without a C++ API.
//
//   $ OMP_NUM_THREADS=1 mpirun -np 2 ./torch_bench
//
// One multilayer perceptron of 1,863,690 parameters, 64 samples per rank, SGD with momentum; the
// contenders have copies of their own. What communication costs is the time beyond that of a step
// without any.
#include <ringleader/ops/adapters/torch.h>
#include <ringleader/ringleader.h>

#include <mpi.h>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>

#include <CLI/CLI.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <vector>

#include "interleave.h"

namespace {

using namespace ringleader;
using namespace ringleader::benchmarks;

constexpr std::int64_t kSamples = 64;

/// PyTorch's defaults: a first bucket of 1 MiB, then 25.
constexpr std::size_t kFirstBucketBytes = std::size_t{1} << 20;
constexpr std::size_t kBucketBytes = std::size_t{25} << 20;

/// A model with its optimizer and a batch.
struct Training {
  torch::nn::Sequential model{torch::nn::Linear(784, 1024), torch::nn::ReLU(),
                              torch::nn::Linear(1024, 1024), torch::nn::ReLU(),
                              torch::nn::Linear(1024, 10)};
  torch::optim::SGD sgd{model->parameters(), torch::optim::SGDOptions(0.01).momentum(0.9)};
  torch::Tensor images = torch::randn({kSamples, 784});
  torch::Tensor labels = torch::randint(10, {kSamples}, torch::kInt64);

  void backward() {
    torch::nll_loss(torch::log_softmax(model->forward(images), 1), labels).backward();
  }
};

/// A folder that all ranks know, for Gloo's rendezvous.
std::string common_folder() {
  std::array<char, 64> path = {};
  std::snprintf(path.data(), path.size(), "/tmp/torch_bench.XXXXXX");
  if (rank() == 0 && mkdtemp(path.data()) == nullptr) MPI_Abort(MPI_COMM_WORLD, 1);
  MPI_Bcast(path.data(), static_cast<int>(path.size()), MPI_CHAR, 0, MPI_COMM_WORLD);
  return path.data();
}

/// Up to LibTorch 1.13 Gloo's is a process group; later it is a backend of one.
template <typename Gloo, typename Group = c10d::ProcessGroup>
c10::intrusive_ptr<Group> group_of(const c10::intrusive_ptr<Gloo>& gloo,
                                   const c10::intrusive_ptr<c10d::Store>& store) {
  if constexpr (std::is_base_of_v<Group, Gloo>) {
    return gloo;
  } else {
    auto group = c10::make_intrusive<Group>(store, rank(), size());
    group->setDefaultBackend(Group::BackendType::GLOO);
    group->setBackend(c10::DeviceType::CPU, Group::BackendType::GLOO, gloo);
    return group;
  }
}

std::unique_ptr<c10d::Reducer> make_reducer(const std::vector<torch::Tensor>& parameters,
                                            const std::string& folder) {
  const c10::intrusive_ptr<c10d::Store> store =
      c10::make_intrusive<c10d::FileStore>(folder + "/store", size());
  auto options = c10d::ProcessGroupGloo::Options::create();
  options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
  const auto group =
      group_of(c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank(), size(), options), store);
  const std::vector<bool> sparse(parameters.size(), false);
  auto [buckets, limits] = c10d::compute_bucket_assignment_by_size(
      parameters, {kFirstBucketBytes, kBucketBytes}, sparse);
  std::unordered_map<std::size_t, std::string> names;
  return std::make_unique<c10d::Reducer>(
      parameters, std::vector<std::vector<std::size_t>>(buckets.rbegin(), buckets.rend()), limits,
      group, sparse, kBucketBytes, false, true, names, kFirstBucketBytes);
}

void run(const Timing& timing) {
  torch::manual_seed(1);
  Training alone;
  Training ours;
  Training theirs;
  DistributedOptimizer optimizer(ours.sgd);
  const std::string folder = common_folder();
  const auto reducer = make_reducer(theirs.model->parameters(), folder);
  const std::vector<Contender> contenders = {
      {"no communication",
       [&] {
         alone.sgd.zero_grad();
         alone.backward();
         alone.sgd.step();
       }},
      {"ringleader",
       [&] {
         optimizer.zero_grad();
         ours.backward();
         optimizer.step();
       }},
      {"c10d::Reducer, Gloo", [&] {
         for (torch::Tensor& parameter : theirs.model->parameters()) {
           if (parameter.grad().defined()) parameter.mutable_grad().zero_();
         }
         reducer->prepare_for_forward();
         reducer->prepare_for_backward({});
         theirs.backward();
         theirs.sgd.step();
       }}};
  const auto times = interleave(contenders, timing);
  if (rank() != 0) return;
  std::error_code gone;  // the store removes its file as well
  std::filesystem::remove_all(folder, gone);
  const double base = quantile(times[0], 0.5);
  const double cost = quantile(times[1], 0.5) - base;
  std::printf("%-24s %12s %20s %24s\n", "# in turn", "step (ms)", "communication (ms)",
              "over ours");
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    const double own = quantile(times[i], 0.5);
    std::printf("%-24s %12.3f %20.3f", contenders[i].name.c_str(), own / 1e3, (own - base) / 1e3);
    i == 0 ? std::printf("\n") : std::printf(" %24.2f\n", (own - base) / cost);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Timing timing{10, 100, 1};
  CLI::App app("Times training steps of a LibTorch model", "torch_bench");
  app.add_option("-w,--warmup_iters", timing.warmup)->check(CLI::Range(0, 10'000));
  app.add_option("-n,--iters", timing.iterations)->check(CLI::Range(1, 1'000'000));
  CLI11_PARSE(app, argc, argv);
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided);
  {
    const Session session;
    torch::set_num_threads(1);  // a rank per core
    run(timing);
  }
  MPI_Finalize();
  return 0;
}
