// SPDX-License-Identifier: Apache-2.0
//
// Node: the ranks that share memory on this node, and where this process has mapped their segments.
//
//   auto node = Node::open(segment, world, keys, gather);
//   node->shares(group);                       // all of its members are on one node
//   std::byte* theirs = node->base(rank);      // of a rank on this node
#pragma once

#include <ringleader/collectives/shm/segment.h>
#include <ringleader/core/batch.h>
#include <ringleader/core/gather.h>
#include <ringleader/core/result.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ringleader::shm {

/// Threading: constant after open().
class Node {
 public:
  /// `world` has all ranks. `nodes` gives each rank's node as an arbitrary number. Collective over
  /// the world. If the ranks of a node cannot map each other's segments, the node shares nothing;
  /// this is not an error.
  static Result<std::shared_ptr<Node>> open(std::shared_ptr<Segment> segment, const Group& world,
                                            std::vector<int> nodes, Gather gather);

  /// Sets the size of the largest cache; 0 if unknown.
  void set_cache_bytes(std::int64_t bytes) {
    if (bytes > 0) streaming_bytes_ = bytes / 2;
  }

  /// From this many bytes per rank on, results that are not written over their inputs are written
  /// past the caches: together with the inputs they would fill the largest cache.
  std::int64_t streaming_bytes() const { return streaming_bytes_; }

  /// Whether all members are on one node and see each other's memory; equal on all ranks.
  bool shares(const Group& group) const;

  /// The start of the segment of a world rank on this node.
  std::byte* base(int rank) const { return peers_.at(rank).mapping.data(); }
  std::int64_t bytes(int rank) const { return peers_.at(rank).bytes; }

  /// For each world rank, the number of its node; -1 if the node's ranks do not see each other's
  /// memory.
  const std::vector<int>& nodes() const { return nodes_; }

  Segment& segment() const { return *segment_; }
  const Gather& gather() const { return gather_; }

 private:
  struct Peer {
    Mapping mapping;
    std::int64_t bytes = 0;
  };

  std::shared_ptr<Segment> segment_;
  Gather gather_;
  std::vector<int> nodes_;     ///< by world rank; -1: its node shares nothing
  std::map<int, Peer> peers_;  ///< by world rank
  std::int64_t streaming_bytes_ = 16 << 20;
};

}  // namespace ringleader::shm
