// SPDX-License-Identifier: Apache-2.0
//
// World: the processes that run together and the adapters through which they are reached. CMake
// chooses which source file is compiled: world_mpi.cc or world_single.cc.
#pragma once

#include <ringleader/core/config.h>
#include <ringleader/core/result.h>
#include <ringleader/core/runtime/backend.h>
#include <ringleader/core/runtime/control_plane.h>
#include <ringleader/core/runtime/device.h>
#include <ringleader/core/topology.h>
#include <ringleader/ops/session/launcher.h>
#include <ringleader/ops/session/machine.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ringleader {

struct World {
  Topology topology;
  Machine machine;
  std::unique_ptr<ControlPlane> control_plane;
  std::vector<std::unique_ptr<Backend>> backends;  ///< in order of preference
  std::shared_ptr<DevicePort> device;              ///< null unless all ranks have one
  bool one_tree = true;     ///< sums are computed by one tree over the ranks (kernels/reduce.h)
  bool any_thread = true;   ///< false: only the initializing thread may make progress
  bool concurrent = false;  ///< several threads may use the adapters at once
  std::shared_ptr<void> keep_alive;   ///< outlives the adapters
  std::function<void()> mark_broken;  ///< makes exit not wait for the other processes
  AloneVerdict alone;                 ///< for a world of one that the environment contradicts
  std::string transports;             ///< how the ranks are reached, for the log

  /// Collective: returns the first failure of any rank, with that rank's number; ok if all are ok.
  std::function<Status(const Status&)> agree;
};

/// `configured` is this rank's outcome so far. If it is an error on any rank, all ranks return it.
Result<World> open_world(const void* mpi_communicator, const Config& config,
                         const Status& configured);

/// Moves the named backend to the front. Errors: invalid_argument for an unknown name.
Status prefer_backend(std::vector<std::unique_ptr<Backend>>& backends, const std::string& name);

}  // namespace ringleader
