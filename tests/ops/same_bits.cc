// SPDX-License-Identifier: Apache-2.0
//
// The gradients of ResNet-50 again and again, submitted in random orders, with random limits of
// fusion, sizes of segments, backends, and in shared or ordinary memory: the sums are the same bits
// every time. The values differ so much in size that any other order of summation shows.
//
//   mpirun -np 4 --oversubscribe same_bits 500
#include "../../benchmarks/gradient_lists.h"
#include "../sim/random.h"
#include "../support/watchdog.h"

#include <ringleader/ringleader.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <vector>

using namespace ringleader;

namespace {

using Shared = std::vector<float, SharedAllocator<float>>;

void fill(float* data, std::int64_t total) {
  sim::Random random(77 + static_cast<std::uint64_t>(rank()));
  for (std::int64_t i = 0; i < total; ++i) {
    const auto bits = random.below(1 << 24);
    const int exponent = static_cast<int>(bits % 41) - 20;
    data[i] = std::ldexp(static_cast<float>(bits) - 8388608.f, exponent);
  }
}

std::uint64_t hash_of(const float* data, std::int64_t total) {
  std::uint64_t hash = 14695981039346656037U;
  for (std::int64_t i = 0; i < total; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, data + i, sizeof bits);
    hash = (hash ^ bits) * 1099511628211U;
  }
  return hash;
}

/// The same on all ranks, as settings must be.
InitOptions random_settings(sim::Random& shared) {
  constexpr std::int64_t kFusion[] = {0, 1000, 64 << 10, 1 << 20, 4 << 20, 32 << 20, 200 << 20};
  constexpr std::int64_t kSegments[] = {4 << 10, 60 << 10, 100'000, 1 << 20};
  constexpr const char* kBackends[] = {"shm", "p2p"};
  InitOptions options;
  options.config.fusion_bytes_max = kFusion[shared.below(std::size(kFusion))];
  options.config.segment_bytes = kSegments[shared.below(std::size(kSegments))];
  options.config.backend = kBackends[shared.below(std::size(kBackends))];
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const int runs = argc > 1 ? std::atoi(argv[1]) : 10;
  const std::vector<std::int64_t> counts = benchmarks::resnet50();
  const std::int64_t total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  test::Watchdog watchdog(std::chrono::seconds(120));
  sim::Random shared(5);
  std::map<std::uint64_t, int> patterns;
  init();
  sim::Random own(static_cast<std::uint64_t>(rank()) + 1);
  const auto elements = static_cast<std::size_t>(total);
  std::vector<float> ordinary_input(elements), ordinary_output(elements);
  Shared shared_input(elements), shared_output(elements);
  float* const inputs[] = {ordinary_input.data(), shared_input.data()};
  float* const outputs[] = {ordinary_output.data(), shared_output.data()};
  for (float* const input : inputs) fill(input, total);
  std::vector<std::size_t> order(counts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (int run = 0; run < runs; ++run) {
    watchdog.enter("run " + std::to_string(run));
    if (run % 5 == 0) {
      shutdown();
      init(random_settings(shared));
    }
    own.shuffle(order);
    const std::size_t memory = own.below(2);
    float* const out = outputs[memory];
    std::vector<Handle> handles;
    for (const std::size_t t : order) {
      const std::int64_t begin = std::accumulate(
          counts.begin(), counts.begin() + static_cast<std::ptrdiff_t>(t), std::int64_t{0});
      const auto view = [&](float* data) {
        return TensorView(data + begin, {counts[t]}, DType::f32);
      };
      handles.push_back(allreduce_async("gradient" + std::to_string(t), view(inputs[memory]),
                                        view(out), ReduceOp::sum));
    }
    for (const Handle& handle : handles) handle.wait();
    ++patterns[hash_of(out, total)];
    std::memset(out, 0, static_cast<std::size_t>(total) * sizeof(float));
  }
  std::uint64_t first = patterns.begin()->first;
  broadcast("first", TensorView(&first, {sizeof first}, DType::u8), 0);
  const bool same = patterns.size() == 1 && patterns.count(first) == 1;
  std::printf("rank %d: %d runs, %zu pattern(s)%s\n", rank(), runs, patterns.size(),
              same ? "" : ", not those of rank 0");
  shutdown();
  return same ? 0 : 1;
}
