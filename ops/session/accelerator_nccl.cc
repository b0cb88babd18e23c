// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/session/accelerator.h>

#include <ringleader/collectives/nccl/nccl_backend.h>
#include <ringleader/collectives/nccl/nvtx.h>
#include <ringleader/core/log.h>
#include <ringleader/ops/session/settings.h>

#include <fmt/core.h>

#include <algorithm>

namespace ringleader {

Status add_accelerator(World& world, const Config& config, const Group& everybody,
                       const Gather& gather, const std::vector<int>& nodes) {
  const std::string kYes = "yes";
  const int count = nccl::device_count();
  const auto all = gather(everybody, count > 0 ? kYes : "no");
  if (!all.ok()) return all.status();
  const auto have = std::count(all->begin(), all->end(), kYes);
  if (have == 0) return Status();
  if (have < everybody.size()) {
    const auto without = std::find_if(all->begin(), all->end(),
                                      [&](const std::string& answer) { return answer != kYes; });
    log(LogLevel::warning, fmt::format("{} of {} ranks have a GPU, and rank {} has none: device "
                                       "memory cannot be used",
                                       have, everybody.size(), without - all->begin()));
    return Status();
  }
  install_tracer(nccl::nvtx_tracer());
  nccl::NcclOptions options;
  options.gather = gather;
  options.config = config.nccl;
  options.nodes = nodes;
  options.device = std::make_shared<nccl::ChosenDevice>(world.topology.local_rank % count);
  options.devices_may_be_shared = nccl_hosts_are_named();
  world.device = nccl::make_cuda_device(options.device);
  world.backends.insert(world.backends.begin(), nccl::make_nccl_backend(std::move(options)));
  return Status();
}

}  // namespace ringleader
