// SPDX-License-Identifier: Apache-2.0
//
// Ranks that are late, and deadlocks: an alarm goes up, the root asks everybody by a log entry, the
// answers are merged on their way up, and the root judges them.
#include <ringleader/core/protocol/mutated.h>
#include <ringleader/core/protocol/node.h>

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace ringleader::protocol {
namespace {

/// Inquiries do not follow each other faster, however many ranks raise alarms.
constexpr Time kBetweenInquiries = 200'000;

/// More time than this between two ticks passed for nobody here: the process, and perhaps the whole
/// job, was stopped and continued.
constexpr Time kTickGapMax = 2'000'000;

double seconds(Time time) { return static_cast<double>(time) * 1e-6; }

std::string shortened(std::string name) {
  if (name.size() <= Survey::kNameBytesMax) return name;
  return name.substr(0, Survey::kNameBytesMax) + "...";
}

}  // namespace

/// A thread whose operation has completed does not count as waiting: it may submit anything next.
bool Node::all_wait(const std::vector<Token>& awaited) const {
  if (awaited.empty()) return false;
  if (mutated(Mutation::trust_old_waits)) return true;
  return std::all_of(awaited.begin(), awaited.end(),
                     [this](Token token) { return operations_.contains(token); });
}

void Node::tick(Time now, const std::vector<Token>& awaited) {
  if (stopped_ || tree_.size == 1) return;
  now_ += std::clamp(now - std::exchange(ticked_at_, now), Time{0}, kTickGapMax);
  blocked_ = all_wait(awaited);
  const Alarm alarm = watch_.tick(now_, blocked_, operations_.oldest());
  if (alarm >= Alarm::unheard) {
    act_on_own(alarm);
  } else {
    raise(alarm);
  }
  if (watch_.is_open() && !watch_.has_answered(kSelf)) {
    Survey own;
    own.add(standing(), catalog_.log_length());
    watch_.answer(kSelf, std::move(own));
  }
  std::uint64_t reporters = std::uint64_t{1} << kSelf;
  for (int i = 0; i < tree_.child_count(); ++i) reporters |= std::uint64_t{1} << i;
  if (watch_.is_complete(reporters, tree_.levels_below())) conclude_survey();
  if (coordinator_ && !stopped_) inquire();
}

void Node::inquire() {
  // Whoever is overdue is told the end soon: not by way of patience with a rank that does not
  // answer.
  const bool overdue = alarm_ == Alarm::overdue && inquiring_ != Alarm::overdue;
  if (overdue) attempt_ = 0;
  const Time pause = kBetweenInquiries << std::min(attempt_, 6U);
  const bool may_inquire = !watch_.is_open() && now_ - inquired_at_ >= pause;
  if (alarm_ == Alarm::none || !(may_inquire || overdue)) return;
  inquiring_ = std::exchange(alarm_, Alarm::none);
  inquired_at_ = now_;
  coordinator_->inquire(attempt_);
}

/// Alarms are passed on once between two inquiries, however many ranks raise them.
void Node::raise(Alarm alarm) {
  if (coordinator_) {
    alarm_ = std::max(alarm_, alarm);
  } else if (alarm > forwarded_) {
    forwarded_ = outgoing_.alarm = alarm;
  }
}

/// Nobody answers this rank's alarm: the root, or a rank on the way to it, does not run.
void Node::act_on_own(Alarm alarm) {
  Survey own;
  own.add(standing(), catalog_.log_length());
  const std::string text = fmt::format(
      "rank {} gets no answer from rank 0, which coordinates, by way of rank {}: one of them is "
      "stopped, or computes without a background thread{}",
      tree_.rank, tree_.parent(), report(own, catalog_));
  if (alarm == Alarm::hopeless && !mutated(Mutation::trust_the_root)) {
    lost(Status(Code::rank_lost, text));
  } else {
    notice(text);
  }
}

Standing Node::standing() const {
  Standing own;
  own.ranks = {{tree_.rank, tree_.rank}};
  own.blocked = blocked_;
  own.waited_us = watch_.waited();
  for (const auto& [plan, state] : plans_) {
    const PlanInfo* info = catalog_.plan(plan);
    if (info == nullptr || !catalog_.process_set(info->process_set())->member) continue;
    own.plans.push_back({plan, state.step(), state.batches_per_step(), state.position()});
  }
  std::set<Token> entered;  // without negotiation: the others may never come
  for (const auto& [id, in_flight] : in_flight_) {
    if (in_flight.ran) continue;
    if (!in_flight.replayed) {
      own.moving = true;
      continue;
    }
    entered.insert(in_flight.tokens.begin(), in_flight.tokens.end());
    for (PlanStanding& plan : own.plans) {
      if (plan.plan == in_flight.plan)
        plan.unfinished = std::min(plan.unfinished, in_flight.position);
    }
  }
  operations_.for_each([&](Token token, const LocalOperation& operation) {
    if (operation.decided && entered.count(token) == 0) return;
    if (operation.parameter) {
      const PlanInfo& plan = *catalog_.plan(operation.parameter->plan);
      own.waits.push_back({plan.process_set(),
                           shortened(plan.request->tensors[operation.parameter->index].name),
                           fmt::format("gradient of '{}',", short_name(*plan.request)),
                           to_string(operation.where)});
    } else {
      const Request& request = *operation.request;
      own.waits.push_back({request.process_set, shortened(short_name(request)), kind_of(request),
                           to_string(operation.where)});
    }
  });
  std::sort(own.waits.begin(), own.waits.end());
  if (own.waits.size() > Survey::kWaitsMax) {
    own.more_waits = static_cast<std::uint32_t>(own.waits.size() - Survey::kWaitsMax);
    own.waits.resize(Survey::kWaitsMax);
  }
  return own;
}

void Node::conclude_survey() {
  std::vector<RankRange> silent;
  std::vector<RankRange> behind;
  for (int i = 0; i < tree_.child_count(); ++i) {
    if (watch_.has_answered(i)) continue;
    silent.push_back({tree_.child(i), tree_.child(i)});
    tree_.for_each_level(i, [&](std::int32_t first, std::int32_t last) {
      if (first != tree_.child(i)) behind.push_back({first, last});
    });
  }
  Survey survey = watch_.take_survey();
  survey.add_silent(silent, behind);
  if (coordinator_) {
    judge(survey);
  } else {
    outgoing_.survey = std::move(survey);
  }
}

void Node::judge(const Survey& survey) {
  flush();  // what has been announced is decided before anything is called undecided
  if (stopped_) return;
  attempt_ = survey.silent.empty() ? 0 : attempt_ + 1;
  // Whoever is blocked says so only once, so the root asks again where an answer is missing, or was
  // given before the last decision.
  const bool outdated = survey.blocked && survey.applied < catalog_.log_length();
  if (attempt_ > 0 || outdated) raise(Alarm::blocked);
  if (survey.proves_deadlock(catalog_.log_length())) {
    coordinator_->reset(Status(Code::stalled,
                               "deadlock: no rank can go on, because each waits for something that "
                               "others have not submitted; submit the same names on all ranks" +
                                   report(survey, catalog_)));
  } else if (inquiring_ == Alarm::overdue) {
    abort_all(
        Status(Code::rank_lost, fmt::format("stalled: some rank has waited for longer than {:g} s "
                                            "(RINGLEADER_STALL_ABORT_S), so all ranks give up",
                                            seconds(watch_.options().stall_abort_us)) +
                                    report(survey, catalog_)));
  } else if (inquiring_ == Alarm::late && now_ - warned_at_ >= watch_.options().stall_warning_us) {
    warned_at_ = now_;
    notice(fmt::format("some rank has waited for longer than {:g} s (RINGLEADER_STALL_WARNING_S)",
                       seconds(watch_.options().stall_warning_us)) +
           report(survey, catalog_));
  }
}

void Node::notice(std::string text) {
  actions_.emplace_back().emplace<Notice>().text = std::move(text);
}

/// Told to every rank directly, as some rank on the way may not run.
void Node::abort_all(const Status& reason) {
  const Payload bytes = payload_of(Abort{reason});
  for (int rank = 0; rank < tree_.size; ++rank) {
    const bool told_by_lost = rank == tree_.rank || tree_.index_of_child(rank) >= 0;
    if (!told_by_lost) messages_.push_back({rank, bytes});
  }
  lost(reason);
}

}  // namespace ringleader::protocol
