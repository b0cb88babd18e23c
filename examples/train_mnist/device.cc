// SPDX-License-Identifier: Apache-2.0
#include "device.h"

#include <cstdint>
#include <cstdio>

#include "cuda_support.h"
#include "stop.h"

namespace train_mnist {

Device choose_device(const std::string& wanted) {
  if (wanted == "cpu") return Device::cpu;
  const int count = cuda_device_count();
  if (wanted == "cuda") {
    run_on_all_ranks("startup/device", [&] {
      if (count == 0) throw Stop(kExitUsage, "--device cuda: there is no GPU, or no CUDA here");
    });
  }
  std::int64_t everywhere = ringleader::local_size() <= count ? 1 : 0;
  ringleader::allreduce("startup/gpus", ringleader::TensorView(&everywhere, {1}),
                        ringleader::ReduceOp::min);
  if (wanted == "auto" && everywhere == 0) return Device::cpu;
  if (ringleader::rank() == 0 && ringleader::local_size() > count) {
    std::fprintf(stderr, "train_mnist: %d ranks share %d GPUs on this node, which is slow\n",
                 ringleader::local_size(), count);
  }
  use_cuda_device(ringleader::local_rank() % count);
  return Device::cuda;
}

}  // namespace train_mnist
