// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/protocol/inquiry.h>

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <utility>

namespace ringleader::protocol {
namespace {

/// The least time between inquiries, however many ranks raise alarms; a first overdue alarm does
/// not wait for it.
constexpr Time kBetweenInquiries = 200'000;

/// Time beyond this between two ticks does not count: the process, and perhaps the whole job, was
/// stopped and continued.
constexpr Time kTickGapMax = 2'000'000;

double seconds(Time time) { return static_cast<double>(time) * 1e-6; }

std::string shortened(std::string name) {
  if (name.size() <= DeadlockReport::kNameBytesMax) return name;
  return name.substr(0, DeadlockReport::kNameBytesMax) + "...";
}

Wait wait_of(const LocalOperation& operation, const Catalog& catalog) {
  if (operation.parameter) {
    const PlanInfo& plan = *catalog.plan(operation.parameter->plan);
    return {plan.process_set(), shortened(plan.request->tensors[operation.parameter->index].name),
            fmt::format("gradient of '{}',", short_name(*plan.request)),
            to_string(operation.where)};
  }
  const Request& request = *operation.request;
  return {request.process_set, shortened(short_name(request)), kind_of(request),
          to_string(operation.where)};
}

}  // namespace

Alarm Inquiry::tick(Time now, bool blocked, Token oldest) {
  now_ += std::clamp(now - std::exchange(ticked_at_, now), Time{0}, kTickGapMax);
  blocked_ = blocked;
  return watch_.tick(now_, blocked, oldest);
}

bool Inquiry::raise(Alarm alarm) {
  if (tree_.is_root()) {
    alarm_ = std::max(alarm_, alarm);
    return false;
  }
  if (alarm <= passed_on_) return false;
  passed_on_ = alarm;
  return true;
}

std::string Inquiry::unheard(const RankPosition& own) const {
  DeadlockReport report;
  report.add(own, catalog_.log_length());
  return fmt::format(
      "rank {} gets no answer from rank 0, which coordinates, by way of rank {}: one of them is "
      "stopped, or computes without a background thread{}",
      tree_.rank, tree_.parent(), describe(report, catalog_));
}

std::optional<std::uint32_t> Inquiry::question() {
  // An overdue rank is told the outcome soon, without patience for a rank that does not answer.
  const bool overdue = alarm_ == Alarm::overdue && inquiring_ != Alarm::overdue;
  if (overdue) attempt_ = 0;
  const Time pause = kBetweenInquiries << std::min(attempt_, 6U);
  const bool may_ask = !watch_.is_open() && now_ - inquired_at_ >= pause;
  if (alarm_ == Alarm::none || !(may_ask || overdue)) return std::nullopt;
  inquiring_ = std::exchange(alarm_, Alarm::none);
  inquired_at_ = now_;
  return attempt_;
}

void Inquiry::open(std::uint32_t attempt, std::uint64_t log_length) {
  watch_.open(attempt);
  opened_at_ = log_length;
  passed_on_ = Alarm::none;
}

void Inquiry::answer(const RankPosition& own) {
  DeadlockReport report;
  report.add(own, catalog_.log_length());
  watch_.answer(kSelf, std::move(report));
}

void Inquiry::answer(int child, const DeadlockReport& report) {
  // An answer that comes too late belongs to an inquiry that is closed.
  if (report.applied >= opened_at_) watch_.answer(child, report);
}

std::optional<DeadlockReport> Inquiry::take_report() {
  std::uint64_t reporters = std::uint64_t{1} << kSelf;
  for (int i = 0; i < tree_.child_count(); ++i) reporters |= std::uint64_t{1} << i;
  if (!watch_.is_complete(reporters, tree_.levels_below())) return std::nullopt;
  std::vector<RankRange> silent;
  std::vector<RankRange> behind;
  for (int i = 0; i < tree_.child_count(); ++i) {
    if (watch_.has_answered(i)) continue;
    silent.push_back({tree_.child(i), tree_.child(i)});
    tree_.for_each_level(i, [&](std::int32_t first, std::int32_t last) {
      if (first != tree_.child(i)) behind.push_back({first, last});
    });
  }
  DeadlockReport report = watch_.take_report();
  report.add_silent(silent, behind);
  return report;
}

Verdict Inquiry::judge(const DeadlockReport& report) {
  attempt_ = report.silent.empty() ? 0 : attempt_ + 1;
  // A blocked rank says so only once, so the root asks again if an answer is missing or was given
  // before the last decision.
  const bool outdated = report.blocked && report.applied < catalog_.log_length();
  if (attempt_ > 0 || outdated) raise(Alarm::blocked);
  const WatchOptions& options = watch_.options();
  if (report.proves_deadlock(catalog_.log_length())) {
    return {Verdict::Kind::deadlock,
            "deadlock: no rank can go on, because each waits for something that others have not "
            "submitted; submit the same names on all ranks" +
                describe(report, catalog_)};
  }
  if (inquiring_ == Alarm::overdue) {
    return {Verdict::Kind::abort,
            fmt::format("stalled: some rank has waited for longer than {:g} s "
                        "(RINGLEADER_STALL_ABORT_S), so all ranks give up",
                        seconds(options.stall_abort_us)) +
                describe(report, catalog_)};
  }
  if (inquiring_ == Alarm::late && now_ - warned_at_ >= options.stall_warning_us) {
    warned_at_ = now_;
    return {Verdict::Kind::notice,
            fmt::format("some rank has waited for longer than {:g} s (RINGLEADER_STALL_WARNING_S)",
                        seconds(options.stall_warning_us)) +
                describe(report, catalog_)};
  }
  return {};
}

RankPosition Inquiry::position(const Launches& launches, const PlanStates& plans) const {
  RankPosition own;
  own.ranks = {{tree_.rank, tree_.rank}};
  own.blocked = blocked_;
  own.waited_us = watch_.waited();
  for (const auto& [plan, state] : plans) {
    const PlanInfo* info = catalog_.plan(plan);
    if (info == nullptr || !catalog_.process_set(info->process_set())->member) continue;
    own.plans.push_back({plan, state.step(), state.batches_per_step(), state.position()});
  }
  std::set<Token> entered;  // without negotiation: the others may never come
  launches.for_each_in_flight([&](const InFlightBatch& batch) {
    if (batch.ran) return;
    if (!batch.replayed) {
      own.moving = true;
      return;
    }
    entered.insert(batch.tokens.begin(), batch.tokens.end());
    for (PlanPosition& plan : own.plans) {
      if (plan.plan == batch.plan) plan.unfinished = std::min(plan.unfinished, batch.position);
    }
  });
  launches.operations().for_each([&](Token token, const LocalOperation& operation) {
    if (operation.decided && entered.count(token) == 0) return;
    own.waits.push_back(wait_of(operation, catalog_));
  });
  std::sort(own.waits.begin(), own.waits.end());
  if (own.waits.size() > DeadlockReport::kWaitsMax) {
    own.more_waits = static_cast<std::uint32_t>(own.waits.size() - DeadlockReport::kWaitsMax);
    own.waits.resize(DeadlockReport::kWaitsMax);
  }
  return own;
}

}  // namespace ringleader::protocol
