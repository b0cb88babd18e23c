// SPDX-License-Identifier: Apache-2.0
//
// What happens to a batch on a GPU, as a profiler is shown it.
#include "../support/catch.h"
#include "device_tensor.h"

#include <ringleader/ringleader.h>

#include <algorithm>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

using namespace ringleader;
using namespace ringleader::test;

namespace {

/// What a profiler is shown while `run` runs.
std::vector<std::string> ranges_of(const std::function<void()>& run) {
  static std::mutex mutex;
  static std::vector<std::string> begun;
  static constexpr Tracer kTracer = {[](const char* name) {
                                       const std::lock_guard lock(mutex);
                                       begun.emplace_back(name);
                                       return std::uint64_t{1};
                                     },
                                     [](std::uint64_t) {}};
  install_tracer(&kTracer);
  run();
  barrier();  // on this thread the loop has nothing in its hands
  install_tracer(nullptr);
  const std::lock_guard lock(mutex);
  return std::exchange(begun, {});
}

}  // namespace

TEST_CASE("a profiler sees what a batch does") {
  Tensor first;
  Tensor second;
  const std::vector<float> mine = numbers(1);
  first.set(mine);
  second.set(mine);
  const std::vector<std::string> ranges = ranges_of([&] {
    grouped_allreduce_async("traced", {first.view(), second.view()}, ReduceOp::sum).wait();
  });
  for (const char* const range : {"negotiate traced", "pack", "collective allreduce", "unpack"}) {
    CHECK(std::count(ranges.begin(), ranges.end(), range) == 1);
  }
}

TEST_CASE("gradients that the library has put into one piece of memory are not packed") {
  constexpr std::int64_t kEach = 1000;
  Tensor parameters[2] = {Tensor(kEach), Tensor(kEach)};
  Tensor gradients[2] = {Tensor(kEach), Tensor(kEach)};
  void* places[2] = {};
  std::vector<Slot> slots;
  for (int i = 0; i < 2; ++i) {
    slots.push_back({"gradient" + std::to_string(i), parameters[i].view(), gradients[i].view(),
                     [&places, i](void* to) { places[i] = to; }});
  }
  const auto copy = [&](void* to, const void* from, cudaStream_t stream) {
    check(cudaMemcpyAsync(to, from, kEach * sizeof(float), cudaMemcpyDeviceToDevice, stream));
  };
  OptimizerOptions options;
  options.broadcast_parameters = false;
  const std::vector<float> mine(kEach, static_cast<float>(rank()));
  const std::vector<std::string> ranges = ranges_of([&] {
    DistributedOptimizer optimizer(
        slots, [] {}, GradientMeaning::sum, options);
    // As a backward pass announces them.
    CHECK(static_cast<std::byte*>(places[0]) ==
          static_cast<std::byte*>(places[1]) + kEach * sizeof(float));
    for (int i = 1; i >= 0; --i) {
      gradients[i].set(mine);
      copy(places[i], gradients[i].data(), gradients[i].stream());
      optimizer.ready(static_cast<std::size_t>(i));
    }
    optimizer.step();
  });
  // When the optimizer ended, they went back to where they were.
  for (const Tensor& gradient : gradients) {
    CHECK(gradient.get() == std::vector<float>(kEach, float(size() * (size() - 1) / 2)));
  }
  CHECK(std::count(ranges.begin(), ranges.end(), "collective allreduce") >= 1);
  CHECK(std::count(ranges.begin(), ranges.end(), "optimizer") == 1);
  CHECK(std::count(ranges.begin(), ranges.end(), "pack") == 0);
}
