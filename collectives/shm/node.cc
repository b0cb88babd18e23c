// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/shm/node.h>

#include <ringleader/core/log.h>

#include <fmt/core.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>

namespace ringleader::shm {
namespace {

std::string bytes_of(const Identity& identity) {
  return {reinterpret_cast<const char*>(&identity), sizeof identity};
}

}  // namespace

Result<std::shared_ptr<Node>> Node::open(std::shared_ptr<Segment> segment, const Group& world,
                                         std::vector<int> nodes, Gather gather) {
  const std::string mine = segment == nullptr ? std::string() : bytes_of(segment->identity());
  const Result<std::vector<std::string>> identities = gather(world, mine);
  if (!identities.ok()) return identities.status();
  const auto node = std::make_shared<Node>();
  node->segment_ = std::move(segment);
  const Identity* const own = node->segment_ == nullptr ? nullptr : &node->segment_->identity();
  Status failure;
  for (int rank = 0; rank < world.size(); ++rank) {
    const auto index = static_cast<std::size_t>(rank);
    if (nodes[index] != nodes[static_cast<std::size_t>(world.rank)] || !failure.ok()) continue;
    const std::string& bytes = (*identities)[index];
    Identity identity;
    if (bytes.size() != sizeof identity) {
      failure = Status(Code::unsupported, fmt::format("rank {} has no shared memory", rank));
      continue;
    }
    std::memcpy(&identity, bytes.data(), sizeof identity);
    Result<Mapping> mapping = Mapping::open(identity, own);
    failure = mapping.status();
    if (mapping.ok()) node->peers_.emplace(rank, Peer{std::move(*mapping), identity.bytes});
  }
  if (!failure.ok()) {
    log(LogLevel::warning,
        fmt::format("{}; the ranks of this node use messages instead", failure.message()));
  }
  // If one rank has no shared memory, its whole node does without, so that all ranks choose alike.
  const Result<std::vector<std::string>> successes = gather(world, failure.ok() ? "1" : "0");
  if (!successes.ok()) return successes.status();
  std::set<int> broken;
  for (std::size_t rank = 0; rank < nodes.size(); ++rank) {
    if ((*successes)[rank] != "1") broken.insert(nodes[rank]);
  }
  for (int& number : nodes) {
    if (broken.count(number) != 0) number = -1;
  }
  node->nodes_ = std::move(nodes);
  node->gather_ = std::move(gather);
  return node;
}

bool Node::shares(const Group& group) const {
  const int first = nodes_[static_cast<std::size_t>(group.ranks[0])];
  return first >= 0 && std::all_of(group.ranks.begin(), group.ranks.end(), [&](int rank) {
           return nodes_[static_cast<std::size_t>(rank)] == first;
         });
}

}  // namespace ringleader::shm
