// SPDX-License-Identifier: Apache-2.0
//
// The radix-r tree in which ranks announce and the root decides, numbered like a heap:
//
//   r = 2:        0            parent(i)   = (i - 1) / r
//               /   \          children(i) = r i + 1 ... r i + r
//              1     2
//             / \   / \        Subtrees are the ranks reached through one child; the child is
//            3   4 5   6       the lowest rank of its subtree.
#pragma once

#include <algorithm>
#include <cstdint>

namespace ringleader::protocol {

/// More children than this gain nothing, and a set of children fits in one 64-bit mask.
constexpr int kRadixMax = 32;

struct Tree {
  int rank = 0;
  int size = 1;
  int radix = 8;

  bool is_root() const { return rank == 0; }
  int parent() const { return (rank - 1) / radix; }

  int child_count() const {
    const std::int64_t first = first_child();
    return static_cast<int>(std::clamp<std::int64_t>(size - first, 0, radix));
  }

  /// Levels of the tree below this rank.
  int levels_below() const {
    int levels = 0;
    for (std::int64_t first = first_child(); first < size; first = first * radix + 1) ++levels;
    return levels;
  }

  int child(int index) const { return static_cast<int>(first_child()) + index; }

  /// The index of `other` among the children, or -1.
  int index_of_child(int other) const {
    const std::int64_t index = other - first_child();
    return index >= 0 && index < child_count() ? static_cast<int>(index) : -1;
  }

  /// The index of the child whose subtree contains `other`, or -1 for this rank and ranks
  /// outside its subtree.
  int child_towards(int other) const {
    while (other > rank) {
      const int index = index_of_child(other);
      if (index >= 0) return index;
      other = (other - 1) / radix;
    }
    return -1;
  }

  /// Calls visit(first, last) for each level of the subtree of child `index`: a range of ranks,
  /// `radix` times as wide as the one above.
  template <typename Visit>
  void for_each_level(int index, Visit visit) const {
    std::int64_t width = 1;
    for (std::int64_t first = child(index); first < size; first = first * radix + 1) {
      visit(static_cast<std::int32_t>(first),
            static_cast<std::int32_t>(std::min<std::int64_t>(first + width, size) - 1));
      width *= radix;
    }
  }

  /// Ranks in the subtree of child `index`.
  int subtree_size(int index) const {
    int total = 0;
    for_each_level(index,
                   [&](std::int32_t first, std::int32_t last) { total += last - first + 1; });
    return total;
  }

 private:
  std::int64_t first_child() const { return std::int64_t{rank} * radix + 1; }
};

}  // namespace ringleader::protocol
