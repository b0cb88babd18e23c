// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/p2p/algorithm_table.h>

#include "../support/catch.h"

#include <cstdint>
#include <string>

using namespace ringleader;
using namespace ringleader::p2p;

namespace {

AlgorithmTable table(const std::string& rows) {
  const Result<AlgorithmTable> parsed = AlgorithmTable::with(rows);
  INFO(parsed.status().message());
  REQUIRE(parsed.ok());
  return *parsed;
}

constexpr std::int64_t kSizes[] = {0, 1, 4096, 4097, 1 << 18, 1 << 24, INT64_MAX};

}  // namespace

TEST_CASE("the first row that fits decides") {
  const AlgorithmTable rows = table(
      "2-8 * 64K halving_doubling  # and why\n"
      "\n"
      "* 16 * ring; 4-* * 1M everybody");
  CHECK(rows.flat({2, 2, 64 << 10, false}) == AllreduceAlgorithm::halving_doubling);
  CHECK(rows.flat({9, 16, 64 << 10, false}) == AllreduceAlgorithm::ring);
  CHECK(rows.flat({2, 16, 65 << 10, false}) == AllreduceAlgorithm::ring);
  CHECK(rows.flat({9, 18, 1 << 20, false}) == AllreduceAlgorithm::everybody);
}

TEST_CASE("a name alone applies always") {
  for (const std::int64_t bytes : kSizes) {
    CHECK(table("ring").flat({2, 2, bytes, false}) == AllreduceAlgorithm::ring);
    CHECK(!table("ring").hierarchical({2, 4, bytes, false}));
    CHECK(table("hierarchical").flat({2, 4, bytes, false}) != AllreduceAlgorithm::hierarchical);
  }
}

TEST_CASE("every situation has an algorithm, hierarchical between hosts unless a row says else") {
  const AlgorithmTable built_in = table("");
  for (int ranks = 2; ranks < 40; ++ranks) {
    for (const std::int64_t bytes : kSizes) {
      CHECK(built_in.hierarchical({2, ranks, bytes, true}));
      CHECK(built_in.flat({ranks, ranks, bytes, false}) != AllreduceAlgorithm::hierarchical);
    }
  }
}

TEST_CASE("sums by one tree do not depend on the size") {
  const AlgorithmTable rows = table("* * 1M ring; * * 2M hierarchical; exchange");
  for (const std::int64_t bytes : kSizes) {
    CHECK(rows.flat({4, 8, bytes, true}) == AllreduceAlgorithm::exchange);
    CHECK(!rows.hierarchical({4, 8, bytes, true}));
  }
  CHECK(rows.hierarchical({4, 8, 2 << 20, false}));
  CHECK(!rows.hierarchical({4, 8, 1 << 20, false}));
}

TEST_CASE("rows that cannot be used are named") {
  for (const std::string row :
       {"* * * rign", "* * *", "* * * ring ring", "8-2 * * ring", "x * * ring", "* -1 * ring",
        "* * 4T ring", "* * 99999999999999999999 ring", "* * 9999999999G ring", "2- * * ring"}) {
    const Result<AlgorithmTable> parsed = AlgorithmTable::with("ring\n" + row);
    REQUIRE(!parsed.ok());
    CHECK(parsed.status().code() == Code::invalid_argument);
    CHECK(parsed.status().message().find("'" + row + "'") != std::string::npos);
  }
}

TEST_CASE("hosts of a group") {
  Group group;
  group.ranks = {0, 2, 3, 5};
  CHECK(nodes_of(group, {7, 7, 7, 8, 8, 8}) == 2);
  CHECK(nodes_of(group, {-1, -1, -1, -1, -1, 3}) == 4);
}
