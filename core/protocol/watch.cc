// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/protocol/watch.h>

#include <algorithm>

namespace ringleader::protocol {
namespace {

/// How long a node waits for its children's answers, per level of the tree below it.
constexpr Time kPatiencePerLevel = 500'000;

/// The wait doubles at each further attempt, up to this many times.
constexpr std::uint32_t kAttemptsMax = 6;

/// An alarm that nobody has answered for this long is unheard.
constexpr Time kUnheard = 5'000'000;

}  // namespace

Alarm Watch::tick(Time now, bool blocked, Token oldest) {
  now_ = now;
  if (open_ && opened_at_ < 0) opened_at_ = now;
  if (std::exchange(changed_, false) || !blocked) {
    blocked_since_ = now;
    blocked_raised_ = false;
  }
  if (oldest != oldest_) {
    oldest_ = oldest;
    oldest_since_ = now;
    raised_ = Alarm::none;
  }

  const auto due = [](Time limit, Time since_us) { return limit > 0 && since_us >= limit; };
  const auto raise = [&](Alarm alarm) {
    raised_ = alarm;
    raised_at_ = now;
    heard_ = false;
    return alarm;
  };
  if (raised_ < Alarm::overdue && due(options_.stall_abort_us, waited())) {
    return raise(Alarm::overdue);
  }
  if (raised_ < Alarm::late && due(options_.stall_warning_us, waited())) return raise(Alarm::late);
  if (raised_ != Alarm::none && !heard_ && now - raised_at_ >= kUnheard) {
    heard_ = true;  // said once
    return raised_ == Alarm::overdue ? Alarm::hopeless : Alarm::unheard;
  }
  if (blocked && !blocked_raised_ && due(options_.blocked_grace_us, now - blocked_since_)) {
    blocked_raised_ = true;
    return Alarm::blocked;
  }
  return Alarm::none;
}

void Watch::open(std::uint32_t attempt) {
  attempt_ = std::min(attempt, kAttemptsMax);
  open_ = true;
  opened_at_ = -1;
  answered_ = 0;
  report_ = DeadlockReport();
  // An overdue rank counts on an outcome, not on a question.
  if (raised_ != Alarm::overdue) heard_ = true;
}

void Watch::answer(int reporter, DeadlockReport report) {
  if (!open_ || has_answered(reporter)) return;
  answered_ |= std::uint64_t{1} << reporter;
  report_.merge(std::move(report));
}

bool Watch::is_complete(std::uint64_t reporters, int levels_below) const {
  if (!open_) return false;
  if ((reporters & ~answered_) == 0) return true;
  return opened_at_ >= 0 && now_ - opened_at_ >= (levels_below * kPatiencePerLevel << attempt_);
}

DeadlockReport Watch::take_report() {
  open_ = false;
  return std::move(report_);
}

}  // namespace ringleader::protocol
