// SPDX-License-Identifier: Apache-2.0
//
// Checker: watches what all nodes do and says which invariant broke first. The invariants are
// those of core/protocol/README.md.
#pragma once

#include "scenario.h"

#include <ringleader/core/protocol/node.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace ringleader::sim {

class Checker {
 public:
  explicit Checker(const Scenario& scenario)
      : scenario_(scenario), logs_(static_cast<std::size_t>(scenario.ranks)) {}

  const std::string& failure() const { return failure_; }
  void fail(const std::string& invariant, const std::string& what);

  /// The rank submitted the operation and the node accepted it.
  void submitted(int rank, int operation);

  /// A log message reached the rank.
  void log(int rank, const protocol::LogAppend& append);

  /// The rank was told to launch a batch; `operations` are the scenario's operations of its items,
  /// -1 for those in which the rank takes part with neutral elements.
  void launched(int rank, const protocol::Launch& launch, const std::vector<int>& operations);

  void completed(int rank, int operation, const Status& status);

  /// The run is over: nothing is left to happen.
  void finished(bool faults);

 private:
  /// What the ranks of a channel launch at one position.
  struct Batch {
    std::size_t items = 0;
    std::vector<std::int64_t> counts;
    std::vector<int> operations;  ///< -1 until some rank with data has launched it
    bool replayed = false;
    std::set<int> ranks;
  };

  bool has_joined(int rank) const { return joined_.count(rank) != 0; }

  const Scenario& scenario_;
  std::string failure_;
  std::vector<std::vector<protocol::Bytes>> logs_;  ///< per rank: encoded entries
  std::map<std::uint32_t, std::vector<Batch>> channels_;
  std::map<std::pair<int, std::uint32_t>, std::size_t> positions_;  ///< per rank and channel
  std::set<std::pair<int, int>> submitted_;                         ///< rank, operation
  std::map<std::pair<int, int>, Status> completed_;
  std::set<int> joined_;
  std::set<int> launched_;
};

}  // namespace ringleader::sim
