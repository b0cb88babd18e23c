// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/node_groups.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>

namespace ringleader {
namespace {

/// The runtime's channels count up from 0; the channels derived from them have this bit.
constexpr std::uint32_t kDerived = 1U << 31;

using Members = std::map<int, std::vector<int>>;  ///< by node: world ranks, ascending

Members members_of(const Group& group, const std::vector<int>& nodes) {
  Members members;
  for (const int rank : group.ranks) {
    members[nodes[static_cast<std::size_t>(rank)]].push_back(rank);
  }
  return members;
}

std::shared_ptr<const Group> make_group(std::uint32_t channel, std::vector<int> ranks, int own) {
  auto group = std::make_shared<Group>();
  group->channel = channel;
  group->rank = static_cast<int>(std::find(ranks.begin(), ranks.end(), own) - ranks.begin());
  group->ranks = std::move(ranks);
  return group;
}

}  // namespace

bool is_hierarchical(const Group& group, const std::vector<int>& nodes) {
  const Members members = members_of(group, nodes);
  const std::size_t first = members.begin()->second.size();
  return members.size() > 1 && first > 1 &&
         std::all_of(members.begin(), members.end(), [&](const auto& node) {
           return node.first >= 0 && node.second.size() == first;
         });
}

NodeGroups node_groups_of(const Group& group, const std::vector<int>& nodes) {
  const Members members = members_of(group, nodes);
  const int own = group.ranks[static_cast<std::size_t>(group.rank)];
  const std::vector<int>& node = members.at(nodes[static_cast<std::size_t>(own)]);
  const auto place =
      static_cast<std::size_t>(std::find(node.begin(), node.end(), own) - node.begin());
  std::vector<int> lane;
  for (const auto& [number, ranks] : members) lane.push_back(ranks[place]);
  std::sort(lane.begin(), lane.end());
  const std::uint32_t channel = kDerived | (group.channel * 3);
  return {make_group(channel, node, own), make_group(channel + 1, std::move(lane), own),
          make_group(channel + 2, node, own)};
}

}  // namespace ringleader
