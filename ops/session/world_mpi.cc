// SPDX-License-Identifier: Apache-2.0
//
// The world as MPI sees it.
#include <ringleader/ops/session/world.h>

#include <ringleader/collectives/hierarchical/hierarchical_backend.h>
#include <ringleader/collectives/mpi/mpi_backend.h>
#include <ringleader/collectives/mpi_transport/gather.h>
#include <ringleader/collectives/mpi_transport/mpi_control_plane.h>
#include <ringleader/collectives/mpi_transport/mpi_messages.h>
#include <ringleader/collectives/mpi_transport/mpi_world.h>
#include <ringleader/collectives/p2p/algorithm_table.h>
#include <ringleader/collectives/p2p/p2p_backend.h>
#include <ringleader/collectives/shm/shm_backend.h>
#include <ringleader/ops/session.h>
#include <ringleader/ops/session/accelerator.h>
#include <ringleader/ops/session/arena.h>
#include <ringleader/ops/session/launcher.h>
#include <ringleader/ops/session/settings.h>

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <map>
#include <set>
#include <utility>

namespace ringleader {
namespace {

using mpi_transport::ChannelCommunicators;
using mpi_transport::MpiWorld;

/// The channel of the group that is used while a session begins.
constexpr std::uint32_t kNoChannel = UINT32_MAX;

Group everybody(const MpiWorld& mpi_world) {
  Group world;
  world.channel = kNoChannel;
  for (int rank = 0; rank < mpi_world.topology().size; ++rank) world.ranks.push_back(rank);
  world.rank = mpi_world.topology().rank;
  return world;
}

Gather make_gather(const MpiWorld& mpi_world, std::shared_ptr<ChannelCommunicators> communicators) {
  return [communicators = std::move(communicators), comm = mpi_world.comm()](
             const Group& group, const std::string& bytes) -> Result<std::vector<std::string>> {
    // Several channels may be opened at once, each on a communicator of its own.
    if (group.channel == kNoChannel) return mpi_transport::gather(comm, bytes);
    const Result<MPI_Comm> members = communicators->of(group);
    if (!members.ok()) return members.status();
    return mpi_transport::gather(*members, bytes);
  };
}

/// Returns the first failure of any rank, on all ranks.
Status agree(MPI_Comm comm, int own_rank, const Status& own) {
  const std::string said = own.ok() ? std::string() : static_cast<char>(own.code()) + own.message();
  const auto all = mpi_transport::gather(comm, said);
  if (!all.ok()) return all.status();
  for (std::size_t rank = 0; rank < all->size(); ++rank) {
    const std::string& text = (*all)[rank];
    if (text.empty()) continue;
    if (static_cast<int>(rank) == own_rank) return own;
    return Status(static_cast<Code>(text[0]), fmt::format("rank {}: {}", rank, text.substr(1)));
  }
  return Status();
}

Status check_agreement(const MpiWorld& mpi_world, const Config& config) {
  const auto all = mpi_transport::gather(mpi_world.comm(), job_settings(config));
  return all.ok() ? compare_job_settings(*all) : all.status();
}

/// Allocates from the segment, which the ranks of a node can reach, or else from the heap.
std::shared_ptr<std::byte> allocate_staging(std::int64_t bytes) {
  if (bytes == 0) return nullptr;
  const std::shared_ptr<shm::Segment> segment = process_arena(0);
  void* const memory = segment == nullptr ? nullptr : segment->allocate(bytes);
  if (memory == nullptr)
    return std::shared_ptr<std::byte>(new std::byte[static_cast<std::size_t>(bytes)],
                                      std::default_delete<std::byte[]>());
  return {static_cast<std::byte*>(memory), [segment](std::byte* data) { segment->free(data); }};
}

/// Whether the sums inside the nodes are subtrees of the binary tree over all ranks.
bool nodes_are_subtrees(const std::vector<int>& nodes) {
  for (std::size_t r = 1; r < nodes.size(); ++r) {
    const auto begin = nodes.begin();
    const auto here = begin + static_cast<std::ptrdiff_t>(r);
    const bool seen = std::find(begin, here, nodes[r]) != here;
    if (seen && nodes[r] != nodes[r - 1]) return false;  // its ranks are not consecutive
  }
  // Nodes with different numbers of ranks are not summed one by one.
  std::map<int, unsigned> sizes;
  for (const int node : nodes) ++sizes[node];
  const unsigned first = sizes.begin()->second;
  const bool alike = std::all_of(sizes.begin(), sizes.end(),
                                 [first](const auto& node) { return node.second == first; });
  return sizes.size() == 1 || !alike || std::has_single_bit(first);
}

/// Options for messages between nodes.
Result<p2p::P2pOptions> p2p_options(p2p::Transport& transport, const Group& everybody,
                                    const std::vector<int>& nodes, const Config& config) {
  auto algorithms = p2p::AlgorithmTable::with(config.algorithms);
  if (!algorithms.ok()) {
    return Status(
        algorithms.status().code(),
        "RINGLEADER_ALGORITHMS or RINGLEADER_ALGORITHMS_FILE: " + algorithms.status().message());
  }
  p2p::P2pOptions options{*algorithms, nodes, config.deterministic};
  const bool leaves_node = std::set<int>(nodes.begin(), nodes.end()).size() > 1;
  if (config.segment_bytes > 0) {
    options.segment_bytes = config.segment_bytes;
  } else if (leaves_node) {
    const auto measured =
        p2p::calibrate_segment_bytes(transport, std::make_shared<Group>(everybody));
    if (!measured.ok()) return measured.status();
    transport.close(everybody.channel);
    options.segment_bytes = *measured;
  }
  return options;
}

/// One line for the log: how many nodes, which backends in which order, and how sums are computed.
std::string describe_transports(const World& world, const shm::Node& node, const Config& config) {
  std::string text = fmt::format("{} ranks on {} node(s)", world.topology.size,
                                 std::set<int>(node.nodes().begin(), node.nodes().end()).size());
  text += "; backends in order:";
  for (const auto& backend : world.backends) text += fmt::format(" {}", backend->name());
  if (!config.backend.empty()) text += fmt::format(" (first {})", config.backend);
  return text +
         fmt::format("; sums {}", world.one_tree ? "by one tree over the ranks" : "in any order");
}

}  // namespace

Result<World> open_world(const void* mpi_communicator, const Config& config,
                         const Status& configured) {
  using namespace mpi_transport;
  MpiWorld::on_finalize(shutdown);
  const AloneVerdict alone = judge_alone(config);
  Result<MpiWorld> opened = MpiWorld::open(mpi_communicator, config.host_id);
  if (!opened.ok()) return opened.status();
  auto mpi_world = std::make_shared<MpiWorld>(std::move(*opened));
  const int rank = mpi_world->topology().rank;
  if (Status status = agree(mpi_world->comm(), rank, configured); !status.ok()) return status;
  if (Status status = check_agreement(*mpi_world, config); !status.ok()) return status;
  Result<Communicator> control = mpi_world->duplicate();
  if (!control.ok()) return control.status();
  auto communicators = std::make_shared<ChannelCommunicators>(mpi_world->comm());
  const Gather gather = make_gather(*mpi_world, communicators);
  Result<std::shared_ptr<shm::Node>> node = shm::Node::open(
      process_arena(config.arena_bytes), everybody(*mpi_world), mpi_world->nodes(), gather);
  if (!node.ok()) return node.status();
  const Machine machine = read_machine();
  (*node)->set_cache_bytes(machine.cache_bytes);
  const std::shared_ptr<p2p::Transport> transport = make_transport(communicators);
  auto p2p_chosen = p2p_options(*transport, everybody(*mpi_world), (*node)->nodes(), config);
  if (!p2p_chosen.ok()) return p2p_chosen.status();

  World world;
  if (mpi_world->topology().size == 1 && mpi_communicator == nullptr) {
    world.alone = alone;
  }
  world.topology = mpi_world->topology();
  world.machine = machine;
  world.one_tree =
      config.deterministic && config.backend != "mpi" && nodes_are_subtrees((*node)->nodes());
  world.any_thread = mpi_world->any_thread();
  world.concurrent = mpi_world->concurrent();
  world.control_plane = std::make_unique<MpiControlPlane>(std::move(*control));
  world.backends.push_back(shm::make_shm_backend(*node));
  world.backends.push_back(hierarchical::make_hierarchical_backend(
      shm::make_shm_backend(*node), p2p::make_p2p_backend(transport, *p2p_chosen),
      {p2p_chosen->algorithms, (*node)->nodes(), config.deterministic, allocate_staging}));
  world.backends.push_back(p2p::make_p2p_backend(transport, *p2p_chosen));
  world.backends.push_back(mpi::make_mpi_backend(communicators));
  const Status accelerated =
      add_accelerator(world, config, everybody(*mpi_world), gather, (*node)->nodes());
  if (!accelerated.ok()) return accelerated;
  world.mark_broken = [] { MpiWorld::mark_broken(); };
  world.transports = describe_transports(world, **node, config);
  world.agree = [mpi_world, rank](const Status& status) {
    return agree(mpi_world->comm(), rank, status);
  };
  world.keep_alive = std::move(mpi_world);
  return world;
}

}  // namespace ringleader
