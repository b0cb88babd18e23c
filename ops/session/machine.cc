// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/session/machine.h>

#include <hwloc.h>

#include <algorithm>

namespace ringleader {
namespace {

class HwlocTopology {
 public:
  HwlocTopology() {
    if (hwloc_topology_init(&topology_) != 0) return;
    // Devices are slow to discover and not needed.
    hwloc_topology_set_io_types_filter(topology_, HWLOC_TYPE_FILTER_KEEP_NONE);
    loaded_ = hwloc_topology_load(topology_) == 0;
  }
  ~HwlocTopology() {
    if (topology_ != nullptr) hwloc_topology_destroy(topology_);
  }
  HwlocTopology(const HwlocTopology&) = delete;
  HwlocTopology& operator=(const HwlocTopology&) = delete;

  bool loaded() const { return loaded_; }
  hwloc_topology_t get() const { return topology_; }

 private:
  hwloc_topology_t topology_ = nullptr;
  bool loaded_ = false;
};

std::int64_t largest_cache(hwloc_topology_t topology) {
  std::int64_t largest = 0;
  for (const hwloc_obj_type_t type : {HWLOC_OBJ_L2CACHE, HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L4CACHE}) {
    const hwloc_obj_t cache = hwloc_get_obj_by_type(topology, type, 0);
    if (cache == nullptr) continue;
    largest = std::max(largest, static_cast<std::int64_t>(cache->attr->cache.size));
  }
  return largest;
}

}  // namespace

Machine read_machine() {
  Machine machine;
  const HwlocTopology topology;
  if (!topology.loaded()) return machine;
  const auto count = [&topology](hwloc_obj_type_t type) {
    return std::max(1, hwloc_get_nbobjs_by_type(topology.get(), type));
  };
  // The topology contains what the operating system's control groups allow this process to use.
  machine.processing_units = count(HWLOC_OBJ_PU);
  machine.memory_nodes = count(HWLOC_OBJ_NUMANODE);
  machine.cache_bytes = largest_cache(topology.get());
  return machine;
}

}  // namespace ringleader
