// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/protocol/deadlock_report.h>

#include <ringleader/core/edit_distance.h>
#include <ringleader/core/protocol/catalog.h>

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>
#include <utility>

namespace ringleader::protocol {
namespace {

void add_ranks(std::vector<RankRange>& ranks, const std::vector<RankRange>& more) {
  ranks.insert(ranks.end(), more.begin(), more.end());
  std::sort(ranks.begin(), ranks.end(),
            [](const RankRange& a, const RankRange& b) { return a.first < b.first; });
  std::vector<RankRange> joined;
  for (const RankRange& range : ranks) {
    if (!joined.empty() && range.first <= joined.back().last + 1) {
      joined.back().last = std::max(joined.back().last, range.last);
    } else {
      joined.push_back(range);
    }
  }
  ranks = std::move(joined);
}

std::int32_t count(const std::vector<RankRange>& ranks) {
  return std::accumulate(ranks.begin(), ranks.end(), 0, [](std::int32_t n, const RankRange& range) {
    return n + range.last - range.first + 1;
  });
}

bool says_the_same(const RankPosition& a, const RankPosition& b) {
  return a.blocked == b.blocked && a.moving == b.moving && a.waits == b.waits &&
         a.more_waits == b.more_waits && a.plans == b.plans;
}

void lower(std::vector<PlanPosition>& least, const PlanPosition& plan) {
  const auto found = std::find_if(least.begin(), least.end(),
                                  [&](const PlanPosition& p) { return p.plan == plan.plan; });
  if (found == least.end()) {
    least.push_back(plan);
    return;
  }
  found->launched = std::min(found->launched, plan.launched);
  found->unfinished = std::min(found->unfinished, plan.unfinished);
}

bool is_member(const Catalog& catalog, std::uint32_t process_set, std::int32_t rank) {
  const ProcessSetInfo* set = catalog.process_set(process_set);
  if (set == nullptr) return false;
  return set->ranks.empty() || std::binary_search(set->ranks.begin(), set->ranks.end(), rank);
}

/// True if the ranks have certainly not submitted it: a list that was cut short says nothing about
/// what would come after its end.
bool lacks(const RankPosition& position, const Wait& wait) {
  if (std::binary_search(position.waits.begin(), position.waits.end(), wait)) return false;
  return position.more_waits == 0 || wait < position.waits.back();
}

std::string without_digits(std::string name) {
  std::erase_if(name, [](char c) { return c >= '0' && c <= '9'; });
  return name;
}

bool look_alike(const Wait& a, const Wait& b) {
  if (a.process_set != b.process_set || a.kind != b.kind) return false;
  if (without_digits(a.name) == without_digits(b.name)) return false;  // "step1" is not "step2"
  const std::size_t allowed = std::max<std::size_t>(2, std::min(a.name.size(), b.name.size()) / 4);
  return edit_distance(a.name, b.name) <= allowed;
}

std::string text_of(const Wait& wait) {
  std::string text = fmt::format("{} '{}'", wait.kind, wait.name);
  if (wait.process_set != 0) text += fmt::format(" (process set {})", wait.process_set);
  if (!wait.site.empty()) text += fmt::format(" ({})", wait.site);
  return text;
}

template <typename Items, typename Text>
std::string listed(const Items& items, std::size_t more, Text text) {
  std::string all;
  for (const auto& item : items) all += (all.empty() ? "" : ", ") + text(item);
  if (more > 0) all += fmt::format(" and {} more", more);
  return all;
}

std::string place_of(const RankPosition& position, const Catalog& catalog) {
  std::string text;
  for (const PlanPosition& plan : position.plans) {
    const PlanInfo* info = catalog.plan(plan.plan);
    if (info == nullptr) continue;
    text += fmt::format("{}step {} of '{}'", text.empty() ? "" : ", ", plan.step,
                        short_name(*info->request));
    if (plan.batches > 0) {
      text += fmt::format(", batch {} of {}", plan.launched % plan.batches, plan.batches);
    }
  }
  return text.empty() ? text : fmt::format(" (at {})", text);
}

/// What is waited for, and by which ranks.
using Waiters = std::map<Wait, std::vector<RankRange>>;

std::string lacking(const RankPosition& position, const Waiters& waiters, const Catalog& catalog) {
  std::vector<std::string> names;
  std::size_t more = 0;
  for (const auto& [wait, ranks] : waiters) {
    const bool member = is_member(catalog, wait.process_set, position.ranks.front().first);
    if (!member || !lacks(position, wait)) continue;
    if (names.size() == DeadlockReport::kWaitsMax) {
      ++more;
    } else {
      const bool several = count(ranks) > 1;
      names.push_back(fmt::format("{}, which {} {} for", text_of(wait), to_string(ranks),
                                  several ? "wait" : "waits"));
    }
  }
  if (names.empty()) return "";
  return std::string(count(position.ranks) > 1 ? "; have" : "; has") + " not submitted " +
         listed(names, more, [](const std::string& name) { return name; });
}

std::string line(const RankPosition& position, const Waiters& waiters, const Catalog& catalog) {
  const bool several = count(position.ranks) > 1;
  std::string text =
      fmt::format("\n  {}{}: ", to_string(position.ranks), place_of(position, catalog));
  if (!position.waits.empty()) {
    text += fmt::format("{} for {}, {:.1f} s", several ? "wait" : "waits",
                        listed(position.waits, position.more_waits, text_of),
                        static_cast<double>(position.waited_us) * 1e-6);
    if (!position.blocked) text += several ? ", and compute" : ", and computes";
  } else {
    text += several ? "have nothing pending" : "has nothing pending";
  }
  return text + lacking(position, waiters, catalog);
}

std::string misspellings(const Waiters& waiters) {
  std::string text;
  for (auto a = waiters.begin(); a != waiters.end(); ++a) {
    for (auto b = std::next(a); b != waiters.end(); ++b) {
      if (!look_alike(a->first, b->first) || a->second == b->second) continue;
      // The smaller group of ranks is the likelier culprit.
      const bool a_is_rarer = count(a->second) <= count(b->second);
      const auto& [rare, rare_ranks] = a_is_rarer ? *a : *b;
      const auto& [usual, usual_ranks] = a_is_rarer ? *b : *a;
      text += fmt::format("\n  {} submitted '{}', {} '{}': is one of them misspelt?",
                          to_string(rare_ranks), rare.name, to_string(usual_ranks), usual.name);
    }
  }
  return text;
}

}  // namespace

std::strong_ordering Wait::operator<=>(const Wait& other) const {
  return std::tie(process_set, name, kind) <=> std::tie(other.process_set, other.name, other.kind);
}

bool DeadlockReport::is_plausible(int size) const {
  const auto exist = [size](const std::vector<RankRange>& ranks) {
    return std::all_of(ranks.begin(), ranks.end(), [size](const RankRange& range) {
      return 0 <= range.first && range.first <= range.last && range.last < size;
    });
  };
  return exist(silent) && exist(behind) &&
         std::all_of(positions.begin(), positions.end(), [&](const RankPosition& s) {
           return !s.ranks.empty() && exist(s.ranks) && (s.more_waits == 0 || !s.waits.empty());
         });
}

void DeadlockReport::add(RankPosition position, std::uint64_t applied_entries) {
  applied = std::min(applied, applied_entries);
  blocked = blocked && position.blocked;
  moving = moving || position.moving;
  for (const PlanPosition& plan : position.plans) lower(least, plan);
  const auto same =
      std::find_if(positions.begin(), positions.end(),
                   [&](const RankPosition& other) { return says_the_same(position, other); });
  if (same != positions.end()) {
    add_ranks(same->ranks, position.ranks);
    same->waited_us = std::max(same->waited_us, position.waited_us);
  } else if (positions.size() < kPositionsMax) {
    positions.push_back(std::move(position));
  } else {
    others += count(position.ranks);
  }
}

void DeadlockReport::merge(DeadlockReport other) {
  for (RankPosition& position : other.positions) add(std::move(position), other.applied);
  applied = std::min(applied, other.applied);
  others += other.others;
  add_silent(other.silent, other.behind);
  for (const PlanPosition& plan : other.least) lower(least, plan);
  blocked = blocked && other.blocked;
  moving = moving || other.moving;
}

void DeadlockReport::add_silent(const std::vector<RankRange>& ranks,
                                const std::vector<RankRange>& beyond) {
  add_ranks(silent, ranks);
  add_ranks(behind, beyond);
}

bool DeadlockReport::proves_deadlock(std::uint64_t log_length) const {
  if (!silent.empty() || !blocked || moving || applied != log_length) return false;
  // A batch that all members have entered runs to its end without further help.
  const bool runs = std::any_of(least.begin(), least.end(), [](const PlanPosition& plan) {
    return plan.unfinished < plan.launched;
  });
  return !runs && std::any_of(positions.begin(), positions.end(),
                              [](const RankPosition& s) { return !s.waits.empty(); });
}

std::string to_string(const std::vector<RankRange>& ranks) {
  const bool one = ranks.size() == 1 && ranks[0].first == ranks[0].last;
  return (one ? "rank " : "ranks ") + listed(ranks, 0, [](const RankRange& range) {
           return range.first == range.last ? fmt::format("{}", range.first)
                                            : fmt::format("{}-{}", range.first, range.last);
         });
}

std::string describe(const DeadlockReport& report, const Catalog& catalog) {
  std::vector<RankPosition> positions = report.positions;
  std::sort(positions.begin(), positions.end(), [](const RankPosition& a, const RankPosition& b) {
    return a.ranks.front().first < b.ranks.front().first;
  });
  Waiters waiters;
  for (const RankPosition& position : positions) {
    for (const Wait& wait : position.waits) add_ranks(waiters[wait], position.ranks);
  }
  std::string text;
  for (const RankPosition& position : positions) text += line(position, waiters, catalog);
  if (report.others > 0) text += fmt::format("\n  {} other ranks", report.others);
  if (!report.silent.empty()) {
    text += fmt::format("\n  {}: no answer: stopped, or computing without a background thread",
                        to_string(report.silent));
    if (!report.behind.empty()) {
      text += fmt::format("; through it are reached {}", to_string(report.behind));
    }
  }
  return text + misspellings(waiters);
}

}  // namespace ringleader::protocol
