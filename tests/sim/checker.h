// SPDX-License-Identifier: Apache-2.0
//
// Checker: watches what all nodes do and says which invariant broke first. The invariants are
// those of core/protocol/README.md. It observes and does not steer.
#pragma once

#include "scenario.h"

#include <ringleader/core/protocol/node.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace ringleader::sim {

class Checker {
 public:
  explicit Checker(const Scenario& scenario);

  const std::string& failure() const { return failure_; }
  void fail(const std::string& invariant, const std::string& what);

  /// The rank submitted the operation and the node accepted it.
  void submitted(int rank, int operation);

  /// A log message reached the rank.
  void log(int rank, const protocol::LogAppend& append);

  /// The rank was told to launch a batch; `operations` are the scenario's operations of its items,
  /// -1 for those in which the rank takes part with neutral elements.
  void launched(int rank, const protocol::Launch& launch, const std::vector<int>& operations);

  void completed(int rank, int operation, const protocol::Completion& completion);

  /// The run is over: nothing is left to happen.
  void finished(bool faults);

 private:
  /// What the ranks of a channel launch at one position.
  struct Batch {
    std::size_t items = 0;
    std::vector<std::int64_t> counts;
    std::vector<int> operations;  ///< -1 until some rank with data has launched it
    bool replayed = false;
    std::size_t ranks = 0;  ///< how many have launched it
  };

  /// What is known about one of the scenario's operations.
  struct Record {
    std::vector<bool> submitted;  ///< per rank
    std::vector<bool> completed;  ///< per rank
    std::size_t submissions = 0;
    bool launched = false;
    std::optional<Status> outcome;  ///< of the first rank; those cut off by a fault do not count
    std::int64_t value = 0;
  };

  const Operation& info(int operation) const {
    return scenario_.operations[static_cast<std::size_t>(operation)];
  }
  Record& record(int operation) { return records_[static_cast<std::size_t>(operation)]; }
  const std::vector<int>& members(int operation) const {
    return scenario_.process_sets[static_cast<std::size_t>(info(operation).process_set)];
  }
  bool has_joined(int rank) const { return joined_.count(rank) != 0; }
  void check_item(int rank, const protocol::Launch& launch, Batch& batch, std::size_t item,
                  int operation);
  void check_expected(int rank, int operation, const Status& status);

  const Scenario& scenario_;
  std::string failure_;
  std::vector<protocol::Bytes> log_;     ///< the longest that any rank has seen, encoded
  std::vector<std::size_t> log_length_;  ///< per rank
  std::map<std::uint32_t, std::vector<Batch>> channels_;
  std::map<std::pair<int, std::uint32_t>, std::size_t> positions_;  ///< per rank and channel
  std::vector<Record> records_;                                     ///< per operation
  std::set<int> joined_;
};

}  // namespace ringleader::sim
