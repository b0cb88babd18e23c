// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/protocol/survey.h>

#include <ringleader/core/edit_distance.h>
#include <ringleader/core/protocol/catalog.h>
#include <ringleader/core/protocol/mutated.h>

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

bool says_the_same(const Standing& a, const Standing& b) {
  return a.blocked == b.blocked && a.moving == b.moving && a.waits == b.waits &&
         a.more_waits == b.more_waits && a.plans == b.plans;
}

void lower(std::vector<PlanStanding>& least, const PlanStanding& plan) {
  const auto found = std::find_if(least.begin(), least.end(),
                                  [&](const PlanStanding& p) { return p.plan == plan.plan; });
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
bool lacks(const Standing& standing, const Wait& wait) {
  if (std::binary_search(standing.waits.begin(), standing.waits.end(), wait)) return false;
  return standing.more_waits == 0 || wait < standing.waits.back();
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

std::string position(const Standing& standing, const Catalog& catalog) {
  std::string text;
  for (const PlanStanding& plan : standing.plans) {
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

/// What ranks wait for, and who they are.
using Waiters = std::map<Wait, std::vector<RankRange>>;

std::string lacking(const Standing& standing, const Waiters& waiters, const Catalog& catalog) {
  std::vector<std::string> names;
  std::size_t more = 0;
  for (const auto& [wait, ranks] : waiters) {
    const bool member = is_member(catalog, wait.process_set, standing.ranks.front().first);
    if (!member || !lacks(standing, wait)) continue;
    if (names.size() == Survey::kWaitsMax) {
      ++more;
    } else {
      names.push_back(fmt::format("{} of {}", text_of(wait), to_string(ranks)));
    }
  }
  if (names.empty()) return "";
  return std::string(count(standing.ranks) > 1 ? "; have" : "; has") + " not submitted " +
         listed(names, more, [](const std::string& name) { return name; });
}

std::string line(const Standing& standing, const Waiters& waiters, const Catalog& catalog) {
  const bool several = count(standing.ranks) > 1;
  std::string text =
      fmt::format("\n  {}{}: ", to_string(standing.ranks), position(standing, catalog));
  if (!standing.waits.empty()) {
    text += fmt::format("{} for {}, {:.1f} s", several ? "wait" : "waits",
                        listed(standing.waits, standing.more_waits, text_of),
                        static_cast<double>(standing.waited_us) * 1e-6);
    if (!standing.blocked) text += several ? ", and compute" : ", and computes";
  } else {
    text += several ? "have nothing pending" : "has nothing pending";
  }
  return text + lacking(standing, waiters, catalog);
}

std::string misspellings(const Waiters& waiters) {
  std::string text;
  for (auto a = waiters.begin(); a != waiters.end(); ++a) {
    for (auto b = std::next(a); b != waiters.end(); ++b) {
      if (!look_alike(a->first, b->first) || a->second == b->second) continue;
      // The fewer ranks are the likelier culprits.
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

bool Survey::is_plausible(int size) const {
  const auto exist = [size](const std::vector<RankRange>& ranks) {
    return std::all_of(ranks.begin(), ranks.end(), [size](const RankRange& range) {
      return 0 <= range.first && range.first <= range.last && range.last < size;
    });
  };
  return exist(silent) && exist(behind) &&
         std::all_of(standings.begin(), standings.end(), [&](const Standing& s) {
           return !s.ranks.empty() && exist(s.ranks) && (s.more_waits == 0 || !s.waits.empty());
         });
}

void Survey::add(Standing standing, std::uint64_t applied_entries) {
  applied = std::min(applied, applied_entries);
  blocked = blocked && standing.blocked;
  moving = moving || standing.moving;
  for (const PlanStanding& plan : standing.plans) lower(least, plan);
  const auto same = std::find_if(standings.begin(), standings.end(), [&](const Standing& other) {
    return says_the_same(standing, other);
  });
  if (same != standings.end()) {
    add_ranks(same->ranks, standing.ranks);
    same->waited_us = std::max(same->waited_us, standing.waited_us);
  } else if (standings.size() < kStandingsMax) {
    standings.push_back(std::move(standing));
  } else {
    others += count(standing.ranks);
  }
}

void Survey::merge(Survey other) {
  for (Standing& standing : other.standings) add(std::move(standing), other.applied);
  applied = std::min(applied, other.applied);
  others += other.others;
  add_silent(other.silent, other.behind);
  for (const PlanStanding& plan : other.least) lower(least, plan);
  blocked = blocked && other.blocked;
  moving = moving || other.moving;
}

void Survey::add_silent(const std::vector<RankRange>& ranks, const std::vector<RankRange>& beyond) {
  add_ranks(silent, ranks);
  add_ranks(behind, beyond);
}

bool Survey::proves_deadlock(std::uint64_t log_length) const {
  if (mutated(Mutation::rash_proof)) return blocked && !standings.empty();
  if (!silent.empty() || !blocked || moving || applied != log_length) return false;
  // A batch that all members have entered runs to its end without anybody's help.
  const bool runs = std::any_of(least.begin(), least.end(), [](const PlanStanding& plan) {
    return plan.unfinished < plan.launched;
  });
  return !runs && std::any_of(standings.begin(), standings.end(),
                              [](const Standing& s) { return !s.waits.empty(); });
}

std::string to_string(const std::vector<RankRange>& ranks) {
  const bool one = ranks.size() == 1 && ranks[0].first == ranks[0].last;
  return (one ? "rank " : "ranks ") + listed(ranks, 0, [](const RankRange& range) {
           return range.first == range.last ? fmt::format("{}", range.first)
                                            : fmt::format("{}-{}", range.first, range.last);
         });
}

std::string report(const Survey& survey, const Catalog& catalog) {
  std::vector<Standing> standings = survey.standings;
  std::sort(standings.begin(), standings.end(), [](const Standing& a, const Standing& b) {
    return a.ranks.front().first < b.ranks.front().first;
  });
  Waiters waiters;
  for (const Standing& standing : standings) {
    for (const Wait& wait : standing.waits) add_ranks(waiters[wait], standing.ranks);
  }
  std::string text;
  for (const Standing& standing : standings) text += line(standing, waiters, catalog);
  if (survey.others > 0) text += fmt::format("\n  {} other ranks", survey.others);
  if (!survey.silent.empty()) {
    text += fmt::format("\n  {}: no answer: stopped, or computing without a background thread",
                        to_string(survey.silent));
    if (!survey.behind.empty()) {
      text += fmt::format("; through it are reached {}", to_string(survey.behind));
    }
  }
  return text + misspellings(waiters);
}

}  // namespace ringleader::protocol
