// SPDX-License-Identifier: Apache-2.0
#include "../support/catch.h"

#include <ringleader/core/node_groups.h>

using namespace ringleader;

TEST_CASE("a group of two nodes with two ranks each falls into nodes and lanes") {
  Group group;
  group.channel = 5;
  group.ranks = {0, 2, 3, 7};
  group.rank = 2;  // world rank 3
  const std::vector<int> nodes = {4, 0, 9, 4, 0, 0, 0, 9};
  REQUIRE(is_hierarchical(group, nodes));
  const auto groups = node_groups_of(group, nodes);
  CHECK(groups.scatter->ranks == std::vector<int>{0, 3});
  CHECK(groups.scatter->rank == 1);
  CHECK(groups.gather->ranks == groups.scatter->ranks);
  CHECK(groups.between->ranks == std::vector<int>{3, 7});
  CHECK(groups.between->rank == 0);
  CHECK(groups.scatter->channel != groups.gather->channel);
  CHECK(groups.scatter->channel != groups.between->channel);
}

TEST_CASE("groups that do not fall into equal nodes of several ranks are left to others") {
  Group group;
  group.ranks = {0, 1, 2};
  CHECK_FALSE(is_hierarchical(group, {0, 0, 0}));  // one node
  CHECK_FALSE(is_hierarchical(group, {0, 0, 1}));  // unequal
  CHECK_FALSE(is_hierarchical(group, {0, 1, 2}));  // one rank each
  group.ranks = {0, 1, 2, 3};
  CHECK_FALSE(is_hierarchical(group, {0, 0, -1, -1}));  // a node without memory
  CHECK(is_hierarchical(group, {0, 1, 0, 1}));
}
