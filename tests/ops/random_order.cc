// SPDX-License-Identifier: Apache-2.0
//
// The gradients of ResNet-50, 161 tensors, submitted in a different random order on each rank,
// again and again: right results every time, no deadlock.
//
//   mpirun -np 4 random_order 200
#include "../../benchmarks/gradient_lists.h"
#include "../sim/random.h"
#include "../support/watchdog.h"

#include <ringleader/ringleader.h>

#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

using namespace ringleader;

int main(int argc, char** argv) {
  const int repetitions = argc > 1 ? std::atoi(argv[1]) : 10;
  test::Watchdog watchdog(std::chrono::seconds(60));
  const Session session;
  std::vector<std::vector<float>> tensors;
  for (const std::int64_t count : benchmarks::resnet50()) {
    tensors.emplace_back(static_cast<std::size_t>(count));
  }
  sim::Random random(static_cast<std::uint64_t>(rank()) + 1);
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  int wrong = 0;
  for (int repetition = 0; repetition < repetitions; ++repetition) {
    watchdog.enter("repetition " + std::to_string(repetition));
    random.shuffle(order);
    std::vector<Handle> handles;
    for (const std::size_t t : order) {
      const auto value = static_cast<float>(rank() + repetition % 10 + static_cast<int>(t));
      tensors[t].assign(tensors[t].size(), value);
      handles.push_back(allreduce_async("gradient" + std::to_string(t), tensors[t], ReduceOp::sum));
    }
    for (const Handle& handle : handles) handle.wait();
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      const int sum = size() * (repetition % 10 + static_cast<int>(t)) + size() * (size() - 1) / 2;
      for (const float value : tensors[t]) {
        if (value != static_cast<float>(sum)) ++wrong;
      }
    }
  }
  if (rank() == 0) {
    std::printf("%d repetitions of %zu tensors, %d wrong elements\n", repetitions, tensors.size(),
                wrong);
  }
  return wrong == 0 ? 0 : 1;
}
