// SPDX-License-Identifier: Apache-2.0
//
// DeadlockReport: a subtree's answer when the root asks what its ranks wait for: who waits for
// what, how far each rank has come, and who does not answer. Reports are merged on the way up the
// tree. Ranks with equal answers share one RankPosition, so a report stays small for any number of
// ranks.
//
//   report.merge(of_a_child);
//   if (report.proves_deadlock(log_length)) ...
//   std::string text = describe(report, catalog);
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

namespace ringleader::protocol {

class Catalog;

/// What a rank asks the root to investigate, by ascending severity; watch.h says when. The last two
/// are never sent: the rank has raised an alarm and nobody has answered.
enum class Alarm : std::uint8_t { none, blocked, late, overdue, unheard, hopeless };

constexpr int kAlarmCount = 6;

/// Ranks first, first + 1, ..., last.
struct RankRange {
  std::int32_t first = 0;
  std::int32_t last = 0;

  bool operator==(const RankRange&) const = default;
};

/// An operation that a rank has submitted and that is still undecided, or a gradient of a plan.
struct Wait {
  std::uint32_t process_set = 0;
  std::string name;
  std::string kind;  ///< "allreduce", ..., or "gradient of 'optimizer'"
  std::string site;  ///< the call: "train.cc:42"; ignored in comparisons

  std::strong_ordering operator<=>(const Wait& other) const;
  bool operator==(const Wait& other) const { return (*this <=> other) == 0; }
};

/// How far a rank has come in a plan. The last two count batches since the plan was armed.
struct PlanPosition {
  std::uint32_t plan = 0;
  std::uint64_t step = 0;                 ///< whole steps that the rank has submitted
  std::uint64_t batches = 0;              ///< batches per step, if the plan is or was armed
  std::uint64_t launched = 0;             ///< batches entered without negotiation
  std::uint64_t unfinished = UINT64_MAX;  ///< the first of them that has not finished

  bool operator==(const PlanPosition&) const = default;
};

/// The answer of one rank, or of several ranks with equal answers.
struct RankPosition {
  std::vector<RankRange> ranks;
  bool blocked = false;     ///< every thread that uses the library waits
  bool moving = false;      ///< a negotiated batch is running
  std::vector<Wait> waits;  ///< ascending, at most kWaitsMax
  std::uint32_t more_waits = 0;
  std::vector<PlanPosition> plans;
  std::int64_t waited_us = 0;  ///< for the oldest operation; the longest of the ranks
};

struct DeadlockReport {
  std::uint64_t applied = UINT64_MAX;  ///< log entries applied, the least of all ranks
  std::vector<RankPosition> positions;
  std::int32_t others = 0;          ///< ranks beyond kPositionsMax positions
  std::vector<RankRange> silent;    ///< ranks that did not answer in time
  std::vector<RankRange> behind;    ///< ranks reached through the silent ones
  std::vector<PlanPosition> least;  ///< per plan: least launched and unfinished of all ranks
  bool blocked = true;              ///< all ranks are
  bool moving = false;              ///< some rank is

  static constexpr std::size_t kWaitsMax = 16;
  static constexpr std::size_t kPositionsMax = 64;
  static constexpr std::size_t kNameBytesMax = 120;

  /// False if no rank in a world of `size` ranks can have sent this.
  bool is_plausible(int size) const;

  void add(RankPosition position, std::uint64_t applied_entries);
  void merge(DeadlockReport other);
  void add_silent(const std::vector<RankRange>& ranks, const std::vector<RankRange>& beyond);

  /// True if no rank can go on: all have answered, all wait, each has applied the whole log, no
  /// batch that all its members have entered is running, and something is pending. `log_length` is
  /// the root's, which has decided everything that was announced to it.
  bool proves_deadlock(std::uint64_t log_length) const;
};

/// "ranks 0-2, 7"
std::string to_string(const std::vector<RankRange>& ranks);

/// One line per position: where the ranks are, what they wait for, and what others have submitted
/// and they have not. Then names that are probably misspelt. Membership comes from the catalog.
std::string describe(const DeadlockReport& report, const Catalog& catalog);

}  // namespace ringleader::protocol
