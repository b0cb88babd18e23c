// SPDX-License-Identifier: Apache-2.0
#include "../support/catch.h"

#include <ringleader/core/protocol/id_set.h>
#include <ringleader/core/protocol/tree.h>

#include <vector>

using namespace ringleader::protocol;

TEST_CASE("every rank but the root is the child of its parent") {
  for (const int radix : {1, 2, 3, 8, 32}) {
    for (const int size : {1, 2, 3, 9, 64, 100}) {
      std::vector<int> seen(static_cast<std::size_t>(size), 0);
      for (int rank = 0; rank < size; ++rank) {
        const Tree tree{rank, size, radix};
        for (int i = 0; i < tree.child_count(); ++i) {
          const Tree child{tree.child(i), size, radix};
          CHECK(child.parent() == rank);
          CHECK(tree.index_of_child(tree.child(i)) == i);
          ++seen[static_cast<std::size_t>(tree.child(i))];
        }
      }
      for (int rank = 0; rank < size; ++rank) {
        CHECK(seen[static_cast<std::size_t>(rank)] == (rank == 0 ? 0 : 1));
      }
    }
  }
}

TEST_CASE("subtree sizes count the ranks that are reached through a child") {
  for (const int radix : {1, 2, 5}) {
    const int size = 47;
    for (int rank = 0; rank < size; ++rank) {
      const Tree tree{rank, size, radix};
      std::vector<int> counts(static_cast<std::size_t>(tree.child_count()), 0);
      for (int other = 0; other < size; ++other) {
        const int child = tree.child_towards(other);
        if (child >= 0) ++counts[static_cast<std::size_t>(child)];
      }
      for (int i = 0; i < tree.child_count(); ++i) {
        CHECK(tree.subtree_size(i) == counts[static_cast<std::size_t>(i)]);
      }
    }
  }
}

TEST_CASE("an id set holds what was inserted, in ascending order") {
  IdSet set;
  CHECK(set.empty());
  for (const std::uint32_t id : {700U, 3U, 64U, 3U}) set.insert(id);
  CHECK(set.contains(64));
  CHECK_FALSE(set.contains(65));
  std::vector<std::uint32_t> ids;
  set.for_each([&](std::uint32_t id) { ids.push_back(id); });
  CHECK(ids == std::vector<std::uint32_t>{3, 64, 700});
}
