// SPDX-License-Identifier: Apache-2.0
//
// The world as MPI sees it.
#include <ringleader/ops/world.h>

#include <ringleader/collectives/hierarchical/hierarchical_backend.h>
#include <ringleader/collectives/mpi/mpi_backend.h>
#include <ringleader/collectives/mpi_transport/mpi_control_plane.h>
#include <ringleader/collectives/mpi_transport/mpi_world.h>
#include <ringleader/collectives/ring/ring_backend.h>

#include <ringleader/collectives/mpi_transport/gather.h>
#include <ringleader/collectives/shm/shm_backend.h>
#include <ringleader/ops/arena.h>

#include <utility>

namespace ringleader {
namespace {

using mpi_transport::ChannelCommunicators;
using mpi_transport::MpiWorld;

/// The ranks that share memory with this one, who find each other by messages.
Result<std::shared_ptr<shm::Node>> open_node(const MpiWorld& mpi_world,
                                             std::shared_ptr<ChannelCommunicators> communicators,
                                             const Config& config) {
  Group world;
  for (int rank = 0; rank < mpi_world.topology().size; ++rank) world.ranks.push_back(rank);
  world.rank = mpi_world.topology().rank;
  const auto gather = [communicators, comm = mpi_world.comm(), size = world.size()](
                          const Group& group,
                          const std::string& bytes) -> Result<std::vector<std::string>> {
    if (group.size() == size) return mpi_transport::gather(comm, bytes);
    const Result<MPI_Comm> members = communicators->of(group);
    if (!members.ok()) return members.status();
    return mpi_transport::gather(*members, bytes);
  };
  return shm::Node::open(process_arena(config.arena_bytes), world, mpi_world.nodes(), gather);
}

}  // namespace

Result<World> open_world(const void* mpi_communicator, const Config& config) {
  using namespace mpi_transport;
  Result<MpiWorld> opened = MpiWorld::open(mpi_communicator, config.host_id);
  if (!opened.ok()) return opened.status();
  auto mpi_world = std::make_shared<MpiWorld>(std::move(*opened));
  Result<Communicator> control = mpi_world->duplicate();
  if (!control.ok()) return control.status();
  auto communicators = std::make_shared<ChannelCommunicators>(mpi_world->comm());
  Result<std::shared_ptr<shm::Node>> node = open_node(*mpi_world, communicators, config);
  if (!node.ok()) return node.status();

  World world;
  world.topology = mpi_world->topology();
  world.any_thread = mpi_world->any_thread();
  world.control_plane = std::make_unique<MpiControlPlane>(std::move(*control));
  world.backends.push_back(shm::make_shm_backend(*node));
  world.backends.push_back(hierarchical::make_hierarchical_backend(
      shm::make_shm_backend(*node), ring::make_ring_backend(communicators, config),
      (*node)->nodes()));
  world.backends.push_back(ring::make_ring_backend(communicators, config));
  world.backends.push_back(mpi::make_mpi_backend(communicators));
  world.mark_broken = [] { MpiWorld::mark_broken(); };
  world.keep_alive = std::move(mpi_world);
  return world;
}

}  // namespace ringleader
