// SPDX-License-Identifier: Apache-2.0
//
// Inquiry: finds out why nothing makes progress. A rank's alarm goes up the tree, the root asks all
// ranks by a log entry, the answers are merged on their way up, and the root judges them.
//
//   const Alarm alarm = inquiry.tick(now, blocked, oldest);     // raise it, if any
//   if (auto attempt = inquiry.question()) ...                  // root: ask all ranks
//   inquiry.answer(kSelf, own_report);                          // and the children's answers
//   if (auto report = inquiry.take_report()) ...                // to the parent, or to judge()
#pragma once

#include <ringleader/core/protocol/catalog.h>
#include <ringleader/core/protocol/deadlock_report.h>
#include <ringleader/core/protocol/launches.h>
#include <ringleader/core/protocol/plan_state.h>
#include <ringleader/core/protocol/tree.h>
#include <ringleader/core/protocol/watch.h>

#include <cstdint>
#include <optional>
#include <string>

namespace ringleader::protocol {

/// What the root concludes from the answers.
struct Verdict {
  enum class Kind : std::uint8_t {
    none,
    notice,    ///< tell the user
    deadlock,  ///< proved: end everything undecided
    abort,     ///< some rank has waited too long: all ranks must fail
  };
  Kind kind = Kind::none;
  std::string text;
};

class Inquiry {
 public:
  /// `catalog` outlives this object.
  Inquiry(const Tree& tree, const Catalog& catalog, const WatchOptions& options)
      : tree_(tree), catalog_(catalog), watch_(options) {}

  /// Something has happened on this rank.
  void changed() { watch_.changed(); }

  /// Advances time and returns the alarm due on this rank. `blocked`: every thread of the program
  /// that uses the library waits for something pending. `oldest`: see Watch::tick().
  Alarm tick(Time now, bool blocked, Token oldest);

  /// Takes an alarm from this rank or one below it; returns true if the parent must be told.
  /// Between two inquiries an alarm is passed on once, however many ranks raise it.
  bool raise(Alarm alarm);

  /// The message for an alarm of this rank that nobody answers: the root, or a rank on the way to
  /// it, is not running.
  std::string unheard(const RankPosition& own) const;

  /// Root: the attempt number of an inquiry that is due now.
  std::optional<std::uint32_t> question();

  /// The log, which now has `log_length` entries, has opened an inquiry.
  void open(std::uint32_t attempt, std::uint64_t log_length);

  bool lacks_own_answer() const { return watch_.is_open() && !watch_.has_answered(kSelf); }
  void answer(const RankPosition& own);
  /// A child's answer; ignored if it comes too late.
  void answer(int child, const DeadlockReport& report);

  /// The merged answers, once all have arrived or the wait for the missing ones is over.
  std::optional<DeadlockReport> take_report();

  /// Root: what to do next. Everything announced so far has been decided.
  Verdict judge(const DeadlockReport& report);

  /// Where this rank is, and what it waits for.
  RankPosition position(const Launches& launches, const PlanStates& plans) const;

  /// Whether tick() should be called again soon.
  bool is_open() const { return watch_.is_open() || alarm_ != Alarm::none; }

 private:
  const Tree& tree_;
  const Catalog& catalog_;
  Watch watch_;
  Time now_ = 0;  ///< time that has passed while this rank ran
  Time ticked_at_ = 0;
  bool blocked_ = false;
  std::uint64_t opened_at_ = 0;    ///< the log length after the latest inquiry
  Alarm passed_on_ = Alarm::none;  ///< since the last inquiry

  // Root only.
  Alarm alarm_ = Alarm::none;      ///< to be investigated
  Alarm inquiring_ = Alarm::none;  ///< why the inquiry was opened
  Time inquired_at_ = INT64_MIN / 2;
  Time warned_at_ = INT64_MIN / 2;
  std::uint32_t attempt_ = 0;  ///< consecutive inquiries that some rank did not answer
};

}  // namespace ringleader::protocol
