// SPDX-License-Identifier: Apache-2.0
//
// Coordinator: the part of the protocol that only the root runs. It takes in what the whole tree
// has ready and answers with log entries. It decides in the order of its inputs, so the same inputs
// give the same log.
#pragma once

#include <ringleader/core/protocol/catalog.h>
#include <ringleader/core/protocol/fusion.h>
#include <ringleader/core/protocol/message.h>
#include <ringleader/core/protocol/readiness.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

namespace ringleader::protocol {

struct CoordinatorOptions {
  std::int64_t fusion_bytes_max = 0;
  std::size_t names_max = 0;  ///< names that keep their id
};

class Coordinator {
 public:
  /// append  appends an entry to the log and applies it before returning
  /// order   gives the order of a plan's parameters once each has been decided: see fusion.h
  Coordinator(const Catalog& catalog, CoordinatorOptions options,
              std::function<void(LogEntry)> append,
              std::function<std::vector<std::uint32_t>(std::uint32_t)> order);

  void complete(CompleteOperation operation);
  void joined(const JoinAnnouncement& join);

  /// Some rank cannot follow an armed plan.
  void leave(std::uint32_t plan);

  /// All members have answered a freeze.
  void positions(const PositionAnnouncement& positions);

  /// A rank wants all ranks to stop.
  void farewell(std::int32_t rank);

  /// Asks all ranks what they wait for.
  void inquire(std::uint32_t attempt);

  /// No rank can go on: end everything undecided with this error.
  void reset(const Status& reason);

  /// Fuses and logs what has become ready since the last call.
  void flush();

 private:
  /// How far a plan's current step has been negotiated; decides when the plan can be armed.
  struct PlanProgress {
    std::vector<std::vector<std::uint32_t>> batches;  ///< as armed
    std::vector<std::uint32_t> decided;  ///< per parameter: decisions since this step began
    std::uint32_t decided_count = 0;     ///< parameters decided at least once
    bool whole = true;  ///< every batch of this step was negotiated, with all members present
    bool was_armed = false;
    bool armed = false;
    bool freezing = false;
  };

  void decide_named(NamedAnnouncement named);
  void queue(std::uint32_t id, const Absence& absence);
  std::uint32_t define(std::shared_ptr<const Request> request);
  bool is_armed(const std::optional<std::uint32_t>& plan) const;
  void note_launch(const LaunchEntry& entry);
  void start_step(PlanProgress& progress);
  void next_step(PlanProgress& progress);
  void end(const Status& reason, bool shuts_down);
  void finish_end();
  void complete_key(const Key& key, Status status = Status());

  const Catalog& catalog_;
  CoordinatorOptions options_;
  std::function<void(LogEntry)> append_;
  std::function<std::vector<std::uint32_t>(std::uint32_t)> order_;
  std::vector<ReadyOperation> ready_;
  std::map<std::uint32_t, PlanProgress> plans_;

  // Ids for names that arrived when the name table was full. Each serves one launch.
  std::vector<std::uint32_t> temporary_free_;
  std::vector<std::uint32_t> temporary_used_;

  // A shutdown or reset in progress; it begins by freezing all plans.
  std::optional<Status> end_reason_;
  bool shuts_down_ = false;
  std::vector<CutEntry> cuts_;
};

}  // namespace ringleader::protocol
