// SPDX-License-Identifier: Apache-2.0
//
// AlgorithmTable: chooses the algorithm that reduces a batch whose ranks are not all on one node,
// by the number of nodes, the number of ranks and the size. The built-in rows and the reasons for
// them are in algorithm_table.cc. The user's rows come before them:
//
//   # nodes  ranks  bytes  algorithm
//   2-8      *      64K    halving_doubling     # up to 64 KiB on 2 to 8 nodes
//   *        16     *      ring
//
// The first matching row decides. A semicolon ends a row just as a newline does. A row with only an
// algorithm always matches.
#pragma once

#include <ringleader/core/batch.h>
#include <ringleader/core/result.h>

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace ringleader::p2p {

enum class AllreduceAlgorithm : std::uint8_t {
  everybody,         ///< every rank sends everything to every rank, in one step
  exchange,          ///< every rank reduces its share of the elements, by one tree
  halving_doubling,  ///< recursive halving, then doubling
  ring,              ///< the pipelined ring
  hierarchical,      ///< inside the nodes, between them, inside again
};

std::string_view name_of(AllreduceAlgorithm algorithm);

/// The number of nodes that the members of the group are on. `nodes` has the node's number for each
/// world rank; a negative number means a node of its own.
int nodes_of(const Group& group, const std::vector<int>& nodes);

/// Facts that are equal on all ranks of a group.
struct Situation {
  int nodes = 1;
  int ranks = 1;
  std::int64_t bytes = 0;
  /// The bits must not depend on how tensors were fused: sums by one tree over the ranks, and the
  /// same choice between flat and hierarchical for all sizes.
  bool one_tree = true;
};

class AlgorithmTable {
 public:
  /// Parses `rows`, in the format above, which are tried before the built-in ones. An error names
  /// the line.
  static Result<AlgorithmTable> with(std::string_view rows);

  /// Whether the first matching row says hierarchical.
  bool hierarchical(const Situation& situation) const;

  /// The algorithm of the first matching row that does not say hierarchical. With `one_tree` it is
  /// either everybody or exchange; exchange then replaces all others.
  AllreduceAlgorithm flat(const Situation& situation) const;

 private:
  struct Range {
    std::int64_t low = 0;
    std::int64_t high = INT64_MAX;
    bool has(std::int64_t value) const { return low <= value && value <= high; }
  };
  struct Row {
    Range nodes;
    Range ranks;
    Range bytes;
    AllreduceAlgorithm algorithm;
  };
  explicit AlgorithmTable(std::vector<Row> rows) : rows_(std::move(rows)) {}

  static bool fits(const Row& row, const Situation& situation);
  static Result<Row> parse(std::string_view line);

  std::vector<Row> rows_;
};

}  // namespace ringleader::p2p
