// SPDX-License-Identifier: Apache-2.0
//
// The world as MPI sees it.
#include <ringleader/ops/world.h>

#include <ringleader/collectives/mpi/mpi_backend.h>
#include <ringleader/collectives/mpi_transport/mpi_control_plane.h>
#include <ringleader/collectives/mpi_transport/mpi_world.h>
#include <ringleader/collectives/ring/ring_backend.h>

#include <utility>

namespace ringleader {

Result<World> open_world(const void* mpi_communicator, const Config& config) {
  using namespace mpi_transport;
  Result<MpiWorld> opened = MpiWorld::open(mpi_communicator);
  if (!opened.ok()) return opened.status();
  auto mpi_world = std::make_shared<MpiWorld>(std::move(*opened));
  Result<Communicator> control = mpi_world->duplicate();
  if (!control.ok()) return control.status();
  auto communicators = std::make_shared<ChannelCommunicators>(mpi_world->comm());

  World world;
  world.topology = mpi_world->topology();
  world.any_thread = mpi_world->any_thread();
  world.control_plane = std::make_unique<MpiControlPlane>(std::move(*control));
  world.backends.push_back(ring::make_ring_backend(communicators, config));
  world.backends.push_back(mpi::make_mpi_backend(communicators));
  world.mark_broken = [] { MpiWorld::mark_broken(); };
  world.keep_alive = std::move(mpi_world);
  return world;
}

}  // namespace ringleader
