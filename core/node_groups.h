// SPDX-License-Identifier: Apache-2.0
//
// How a group of ranks falls into nodes.
#pragma once

#include <ringleader/core/batch.h>

#include <memory>
#include <optional>
#include <vector>

namespace ringleader {

/// The groups that a rank belongs to. A channel each for what is launched in an order of its own.
struct NodeGroups {
  std::shared_ptr<const Group> scatter;  ///< the ranks of its node
  std::shared_ptr<const Group> between;  ///< the ranks with its place on their nodes
  std::shared_ptr<const Group> gather;   ///< the ranks of its node
};

/// Whether it falls into several nodes with the same number of ranks, more than one; a function of
/// facts that are equal on all ranks.
bool is_hierarchical(const Group& group, const std::vector<int>& nodes);

/// Of a group that is.
NodeGroups node_groups_of(const Group& group, const std::vector<int>& nodes);

}  // namespace ringleader
