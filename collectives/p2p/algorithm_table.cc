// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/p2p/algorithm_table.h>

#include <ringleader/core/parse.h>

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <utility>

namespace ringleader::p2p {
namespace {

/// Measured across four network namespaces on links of 1 Gbit/s (us: 1 KiB, 16 KiB, 256 KiB, 4
/// MiB):
///
///   everybody          189   413   7,869   119,000
///   exchange           233   288   3,208    56,300
///   halving_doubling   217   260   3,159    52,575
///   ring               342   400   3,182    52,577
///
/// `scripts/tune.py` measures other networks. alpha is the time per message, beta the time per
/// byte; n bytes, P ranks.
constexpr const char* kBuiltIn = R"(
# nodes  ranks  bytes  algorithm

# The bytes of a rank cross the link once for every rank of its node, all ranks at once, and
# the rest stays in shared memory: 2 nodes x 2 ranks, 16 MiB, 1.7 times faster than flat. The flat
# algorithms come into question for it again between the nodes.
*        *      *      hierarchical

# alpha + (P-1) n beta: one step. Up to here a message costs as much as its bytes.
*        2-16   4K     everybody

# 2 log2 P alpha + 2 (P-1)/P n beta: fewer messages than the ring's 2 (P-1) and than the exchange's
# 2 (P-1) per rank, but no overlap between its steps.
*        4-*    256K   halving_doubling

# 2 (P-1) alpha + 2 (P-1)/P n beta with one message at a time into each rank: 4 nodes, 16 MiB,
# within 1.02 of the limit, where the exchange, whose senders meet at the receivers, reaches 1.05.
*        3-*    *      ring

# 2 alpha + 2 (P-1)/P n beta, each byte added once.
*        *      *      exchange
)";

constexpr std::array<std::pair<std::string_view, AllreduceAlgorithm>, 5> kNames = {{
    {"everybody", AllreduceAlgorithm::everybody},
    {"exchange", AllreduceAlgorithm::exchange},
    {"halving_doubling", AllreduceAlgorithm::halving_doubling},
    {"ring", AllreduceAlgorithm::ring},
    {"hierarchical", AllreduceAlgorithm::hierarchical},
}};

}  // namespace

std::string_view name_of(AllreduceAlgorithm algorithm) {
  return std::find_if(kNames.begin(), kNames.end(),
                      [algorithm](const auto& name) { return name.second == algorithm; })
      ->first;
}

int nodes_of(const Group& group, const std::vector<int>& nodes) {
  std::set<int> named;
  int unnamed = 0;
  for (const int rank : group.ranks) {
    const int node = nodes[static_cast<std::size_t>(rank)];
    if (node < 0) {
      ++unnamed;
    } else {
      named.insert(node);
    }
  }
  return static_cast<int>(named.size()) + unnamed;
}

Result<AlgorithmTable::Row> AlgorithmTable::parse(std::string_view line) {
  std::istringstream words{std::string(line)};
  std::array<std::string, 5> word;
  for (std::string& w : word) words >> w;
  if (word[1].empty()) word = {"*", "*", "*", word[0], ""};
  const auto wrong = [line] {
    return Status(Code::invalid_argument,
                  fmt::format("'{}': expected 'nodes ranks bytes algorithm': nodes and ranks as 4, "
                              "2-8, 4-* or *; bytes up to which it applies as 64K or *; algorithm "
                              "everybody, exchange, halving_doubling, ring or hierarchical",
                              line));
  };
  const auto range = [](const std::string& text) -> std::optional<Range> {
    if (text == "*") return Range{};
    const std::size_t dash = text.find('-');
    const auto low = parse_count(text.substr(0, dash));
    const std::string last = dash == text.npos ? text : text.substr(dash + 1);
    const auto high = last == "*" ? INT64_MAX : parse_count(last);
    if (!low || !high || *low > *high) return std::nullopt;
    return Range{*low, *high};
  };
  const auto nodes = range(word[0]);
  const auto ranks = range(word[1]);
  const auto bytes = word[2] == "*" ? INT64_MAX : parse_count(word[2]);
  const auto* const name = std::find_if(kNames.begin(), kNames.end(),
                                        [&](const auto& known) { return known.first == word[3]; });
  if (!nodes || !ranks || !bytes || name == kNames.end() || !word[4].empty()) return wrong();
  return Row{*nodes, *ranks, Range{0, *bytes}, name->second};
}

Result<AlgorithmTable> AlgorithmTable::with(std::string_view rows) {
  std::vector<Row> all;
  std::string text(rows);
  std::replace(text.begin(), text.end(), ';', '\n');
  std::istringstream lines{text + "\n" + kBuiltIn};
  for (std::string line; std::getline(lines, line);) {
    line = line.substr(0, line.find('#'));
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    Result<Row> row = parse(line);
    if (!row.ok()) return row.status();
    all.push_back(*row);
  }
  return AlgorithmTable(std::move(all));
}

bool AlgorithmTable::fits(const Row& row, const Situation& situation) {
  return row.nodes.has(situation.nodes) && row.ranks.has(situation.ranks) &&
         row.bytes.has(situation.bytes);
}

bool AlgorithmTable::hierarchical(const Situation& situation) const {
  Situation asked = situation;
  if (situation.one_tree) asked.bytes = INT64_MAX;
  const auto row =
      std::find_if(rows_.begin(), rows_.end(), [&](const Row& r) { return fits(r, asked); });
  return row->algorithm == AllreduceAlgorithm::hierarchical;
}

AllreduceAlgorithm AlgorithmTable::flat(const Situation& situation) const {
  const auto row = std::find_if(rows_.begin(), rows_.end(), [&](const Row& r) {
    return r.algorithm != AllreduceAlgorithm::hierarchical && fits(r, situation);
  });
  const bool sums_by_one_tree = row->algorithm == AllreduceAlgorithm::everybody ||
                                row->algorithm == AllreduceAlgorithm::exchange;
  return sums_by_one_tree || !situation.one_tree ? row->algorithm : AllreduceAlgorithm::exchange;
}

}  // namespace ringleader::p2p
