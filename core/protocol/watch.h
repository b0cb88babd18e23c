// SPDX-License-Identifier: Apache-2.0
//
// Watch: notices that nothing makes progress on one rank, and keeps its part of the report that
// follows. Time is an argument, in microseconds since an arbitrary moment.
//
//   blocked   every thread that uses the library has waited for `blocked_grace_us`, and nothing has
//             happened since: perhaps a deadlock, which a report can prove
//   late      the rank's oldest operation has been pending for `stall_warning_us`: worth a warning
//   overdue   the same for `stall_abort_us`: all ranks must fail
//
// Each is raised once. After something has happened, blocked can be raised again; the others can be
// raised again for another operation. An alarm travels up the tree; the root answers with an
// inquiry in the log. A late alarm without an inquiry becomes `unheard`. An overdue one
// without an end becomes `hopeless`, inquiry or not: the rank is on its own.
#pragma once

#include <ringleader/core/protocol/deadlock_report.h>
#include <ringleader/core/protocol/plan_state.h>

#include <cstdint>
#include <utility>

namespace ringleader::protocol {

/// Microseconds.
using Time = std::int64_t;

struct WatchOptions {
  Time blocked_grace_us = 1'000'000;   ///< 0: never check for deadlock
  Time stall_warning_us = 10'000'000;  ///< 0: no warning
  Time stall_abort_us = 300'000'000;   ///< 0: wait forever
};

class Watch {
 public:
  explicit Watch(const WatchOptions& options) : options_(options) {}

  /// Something has happened on this rank: it submitted, launched or completed an operation.
  void changed() { changed_ = true; }

  /// `blocked`: all the program's threads wait, no matter for which operation. `oldest` is the
  /// rank's oldest pending operation that can be late, or kNoToken. Returns the most severe alarm
  /// that is due and has not been raised.
  Alarm tick(Time now, bool blocked, Token oldest);

  const WatchOptions& options() const { return options_; }

  /// How long the oldest operation has been pending, as far as this rank has watched.
  Time waited() const { return oldest_ == kNoToken ? 0 : now_ - oldest_since_; }

  // This node's part in the open inquiry, if there is one.
  void open(std::uint32_t attempt);
  bool is_open() const { return open_; }
  bool has_answered(int reporter) const { return ((answered_ >> reporter) & 1) != 0; }
  void answer(int reporter, DeadlockReport report);

  /// True once all have answered, or once the wait for the others is over.
  bool is_complete(std::uint64_t reporters, int levels_below) const;
  DeadlockReport take_report();

 private:
  WatchOptions options_;
  Time now_ = 0;
  bool changed_ = false;
  Time blocked_since_ = 0;
  bool blocked_raised_ = false;
  Token oldest_ = kNoToken;
  Time oldest_since_ = 0;
  Alarm raised_ = Alarm::none;  ///< for the oldest operation
  Time raised_at_ = 0;
  bool heard_ = false;  ///< an inquiry has come since

  bool open_ = false;
  Time opened_at_ = -1;
  std::uint32_t attempt_ = 0;
  std::uint64_t answered_ = 0;  ///< bit per reporter
  DeadlockReport report_;
};

}  // namespace ringleader::protocol
