// SPDX-License-Identifier: Apache-2.0
//
// Inquiry: why nothing goes on. A rank's alarm goes up the tree, the root asks everybody by a log
// entry, the answers are merged on their way up, and the root judges them.
//
//   const Alarm alarm = inquiry.tick(now, blocked, oldest);     // to be raised, if any
//   if (auto attempt = inquiry.question()) ...                  // root: to be asked of all ranks
//   inquiry.answer(kSelf, own_report);                          // and what children answer
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

/// What the root makes of the answers.
struct Verdict {
  enum class Kind : std::uint8_t {
    none,
    notice,    ///< to tell the user
    deadlock,  ///< proved: everything undecided is to end
    abort,     ///< some rank has waited for too long: all ranks are to fail
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

  /// Time passes: the alarm that is due on this rank. `blocked`: every thread of the program that
  /// uses the library waits for something that is pending. `oldest`: see Watch::tick().
  Alarm tick(Time now, bool blocked, Token oldest);

  /// An alarm of this rank or one below it; true if it is to be told to the parent. Alarms are
  /// passed on once between two inquiries, however many ranks raise them.
  bool raise(Alarm alarm);

  /// What to say where nobody answers this rank's alarm: the root, or a rank on the way to it, does
  /// not run.
  std::string unheard(const RankPosition& own) const;

  /// Root: the attempt number of an inquiry that is due now.
  std::optional<std::uint32_t> question();

  /// The log has opened an inquiry; it has `log_length` entries now.
  void open(std::uint32_t attempt, std::uint64_t log_length);

  bool lacks_own_answer() const { return watch_.is_open() && !watch_.has_answered(kSelf); }
  void answer(const RankPosition& own);
  /// What a child answers; nothing if that is too late.
  void answer(int child, const DeadlockReport& report);

  /// The merged answers, once they are complete or those that lack are waited for no longer.
  std::optional<DeadlockReport> take_report();

  /// Root: what follows. Everything announced so far has been decided.
  Verdict judge(const DeadlockReport& report);

  /// Where this rank is, and what it waits for.
  RankPosition position(const Launches& launches, const PlanStates& plans) const;

  /// Whether tick() is to be called soon.
  bool is_open() const { return watch_.is_open() || alarm_ != Alarm::none; }

 private:
  const Tree& tree_;
  const Catalog& catalog_;
  Watch watch_;
  Time now_ = 0;  ///< that has passed while this rank ran
  Time ticked_at_ = 0;
  bool blocked_ = false;
  std::uint64_t opened_at_ = 0;    ///< the log length after the latest inquiry
  Alarm passed_on_ = Alarm::none;  ///< since the last inquiry

  // Of the root.
  Alarm alarm_ = Alarm::none;      ///< to be looked into
  Alarm inquiring_ = Alarm::none;  ///< why the inquiry was opened
  Time inquired_at_ = INT64_MIN / 2;
  Time warned_at_ = INT64_MIN / 2;
  std::uint32_t attempt_ = 0;  ///< inquiries in a row that not all have answered
};

}  // namespace ringleader::protocol
