// SPDX-License-Identifier: Apache-2.0
//
// A build without MPI: a world of one.
#include <ringleader/ops/session/world.h>

#include <ringleader/collectives/inproc/inproc.h>
#include <ringleader/ops/session/launcher.h>

namespace ringleader {

Result<World> open_world(const void* mpi_communicator, const Config& config,
                         const Status& configured) {
  if (!configured.ok()) return configured;
  if (mpi_communicator != nullptr) {
    return Status(Code::unsupported,
                  "init(): a communicator was given, but this build is without "
                  "MPI (RINGLEADER_WITH_MPI=OFF)");
  }
  auto hub = std::make_shared<inproc::Hub>(1);
  World world;
  world.alone = judge_alone(config);
  world.machine = read_machine();
  world.control_plane = hub->control_plane(0);
  world.backends.push_back(hub->backend(0));
  world.mark_broken = [] {};
  world.transports = "a world of one";
  world.agree = [](const Status& status) { return status; };
  world.keep_alive = std::move(hub);
  return world;
}

}  // namespace ringleader
