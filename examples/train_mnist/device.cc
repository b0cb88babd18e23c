// SPDX-License-Identifier: Apache-2.0
#include "device.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <set>
#include <vector>

#include "cuda_support.h"
#include "stop.h"

namespace train_mnist {
namespace {

/// The device of every rank; an empty name for a rank that has none. A rank may see all GPUs of its
/// node or only its own.
std::vector<std::string> devices_of_ranks(int count) {
  const std::string own =
      count > 0 ? cuda_device_uuid(ringleader::local_rank() % count) : std::string();
  const std::vector<std::uint8_t> bytes(own.begin(), own.end());
  const ringleader::Output gathered = ringleader::allgather("startup/gpus", bytes);
  const auto all = gathered.to_vector<std::uint8_t>();
  std::vector<std::string> devices;
  auto next = all.begin();
  for (const std::int64_t rows : gathered.rows()) {
    devices.emplace_back(next, next + rows);
    next += rows;
  }
  return devices;
}

}  // namespace

Device choose_device(const std::string& wanted) {
  if (wanted == "cpu") return Device::cpu;
  const int count = cuda_device_count();
  if (wanted == "cuda") {
    run_on_all_ranks("startup/device", [&] {
      if (count == 0) throw Stop(kExitUsage, "--device cuda: there is no GPU, or no CUDA here");
    });
  }
  const std::vector<std::string> devices = devices_of_ranks(count);
  const std::set<std::string> distinct(devices.begin(), devices.end());
  const bool shared = distinct.size() < devices.size();
  if (wanted == "auto" && (shared || distinct.count("") > 0)) return Device::cpu;
  if (ringleader::rank() == 0 && shared) {
    std::fputs(
        "train_mnist: ranks share a GPU: NCCL refuses that, and is slow if NCCL_HOSTID makes "
        "it take them for several hosts\n",
        stderr);
  }
  use_cuda_device(ringleader::local_rank() % count);
  return Device::cuda;
}

}  // namespace train_mnist
