// SPDX-License-Identifier: Apache-2.0
//
// Prints how many control messages each rank sends in STEPS negotiations of TENSORS tensors, after
// one that does not count: what protocol_sim computes.
//
//   mpirun -np 4 control_counts 161 3
#include <ringleader/ringleader.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

using namespace ringleader;

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto tensors = static_cast<std::size_t>(std::atoi(argv[1]));
  const int steps = std::atoi(argv[2]);
  InitOptions options;
  options.config.background_thread = false;  // so that all tensors of a step are submitted at once
  const Session session(options);
  std::vector<float> values(tensors, 1.f);
  const auto negotiate = [&] {
    std::vector<Handle> handles;
    for (std::size_t i = 0; i < tensors; ++i) {
      handles.push_back(allreduce_async("layer" + std::to_string(i) + ".w",
                                        TensorView(&values[i], {1}), ReduceOp::max));
    }
    for (const Handle& handle : handles) handle.wait();
  };
  negotiate();
  const std::uint64_t before = counters().control_messages;
  for (int step = 0; step < steps; ++step) negotiate();
  std::printf("rank %d: %d messages\n", rank(),
              static_cast<int>(counters().control_messages - before));
  barrier();  // nobody leaves while others count
  return 0;
}
