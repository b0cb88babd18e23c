// SPDX-License-Identifier: Apache-2.0
//
// LogReader: what each kind of log entry does on a rank. Every rank applies the same entries in the
// same order; ranks differ only in which operations are their own.
#pragma once

#include <ringleader/core/protocol/catalog.h>
#include <ringleader/core/protocol/inquiry.h>
#include <ringleader/core/protocol/launches.h>
#include <ringleader/core/protocol/message.h>
#include <ringleader/core/protocol/plan_replay.h>
#include <ringleader/core/protocol/plan_state.h>
#include <ringleader/core/protocol/readiness.h>

#include <cstdint>
#include <optional>

namespace ringleader::protocol {

class LogReader {
 public:
  /// All arguments outlive this object. `stopped` receives the reason when the log ends.
  LogReader(Catalog& catalog, Readiness& readiness, PlanStates& plans, Launches& launches,
            PlanReplay& replay, Inquiry& inquiry, std::optional<Status>& stopped)
      : catalog_(catalog),
        readiness_(readiness),
        plans_(plans),
        launches_(launches),
        replay_(replay),
        inquiry_(inquiry),
        stopped_(stopped) {}

  /// Applies the next entry of the log. Errors: bad_message for an entry no correct root logs.
  Status apply(const LogEntry& entry);

  /// Announcements from a rank that had applied fewer entries are void: a reset came since.
  std::uint64_t void_before() const { return void_before_; }

 private:
  Status apply_entry(const DefineEntry& entry);
  Status apply_entry(const LaunchEntry& entry);
  Status apply_entry(const CompleteEntry& entry);
  Status apply_entry(const SetEntry& entry);
  Status apply_entry(const SetRemovedEntry& entry);
  Status apply_entry(const PlanEntry& entry);
  Status apply_entry(const PlanReleasedEntry& entry);
  Status apply_entry(const JoinedEntry& entry);
  Status apply_entry(const ArmEntry& entry);
  Status apply_entry(const FreezeEntry& entry);
  Status apply_entry(const CutEntry& entry);
  Status apply_entry(const ShutdownEntry& entry);
  Status apply_entry(const InquiryEntry& entry);
  Status apply_entry(const ResetEntry& entry);
  void complete(const KeyView& key, const Status& status, std::int64_t value = 0);

  Catalog& catalog_;
  Readiness& readiness_;
  PlanStates& plans_;
  Launches& launches_;
  PlanReplay& replay_;
  Inquiry& inquiry_;
  std::optional<Status>& stopped_;
  std::uint64_t void_before_ = 0;
};

}  // namespace ringleader::protocol
