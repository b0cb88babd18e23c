// SPDX-License-Identifier: Apache-2.0
//
// How a group of ranks is divided among nodes.
#pragma once

#include <ringleader/core/batch.h>

#include <memory>
#include <optional>
#include <vector>

namespace ringleader {

/// The groups that a rank belongs to. Each has a channel of its own, because each launches in an
/// order of its own.
struct NodeGroups {
  std::shared_ptr<const Group> scatter;  ///< the ranks of its node
  std::shared_ptr<const Group> between;  ///< the ranks at the same position on their nodes
  std::shared_ptr<const Group> gather;   ///< the ranks of its node
};

/// Whether the group spans several nodes, each with the same number of ranks, more than one. A
/// function of facts that are equal on all ranks.
bool is_hierarchical(const Group& group, const std::vector<int>& nodes);

/// The groups of this rank. The group must be hierarchical.
NodeGroups node_groups_of(const Group& group, const std::vector<int>& nodes);

}  // namespace ringleader
