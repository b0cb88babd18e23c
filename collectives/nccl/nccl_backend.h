// SPDX-License-Identifier: Apache-2.0
//
// The backend "nccl": batches in the memory of NVIDIA GPUs, one GPU per rank
// (chosen_device.h). What waits for what, for a batch of a channel:
//
//   user's stream     compute gradient -> event -+            +-> use the result
//   channel's stream                             +-> pack -> NCCL -> unpack -> event
//   host              negotiates, launches, and queries the event now and then; it never waits
//
// Each channel has a communicator, made when the channel is opened, and a stream of high priority.
#pragma once

#include <ringleader/collectives/nccl/chosen_device.h>
#include <ringleader/core/config.h>
#include <ringleader/core/gather.h>
#include <ringleader/core/runtime/backend.h>
#include <ringleader/core/runtime/device.h>

#include <memory>
#include <vector>

namespace ringleader::nccl {

struct NcclOptions {
  Gather gather;
  std::shared_ptr<ChosenDevice> device;

  NcclConfig config;
  std::vector<int> nodes;  ///< of every world rank

  /// For tests: NCCL was told (NCCL_HOSTID) to treat ranks of one node as ranks of several.
  bool devices_may_be_shared = false;
};

std::unique_ptr<Backend> make_nccl_backend(NcclOptions options);

std::shared_ptr<DevicePort> make_cuda_device(std::shared_ptr<ChosenDevice> device);

}  // namespace ringleader::nccl
