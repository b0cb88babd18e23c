// SPDX-License-Identifier: Apache-2.0
#include "conformance.h"

#include "../support/catch.h"

#include <ringleader/collectives/inproc/inproc.h>
#include <ringleader/collectives/inproc/messages.h>
#include <ringleader/collectives/p2p/p2p_backend.h>

#include <functional>
#include <thread>

using namespace ringleader;

namespace {

using MakeBackend = std::function<std::unique_ptr<Backend>(int rank)>;

/// Runs the suite on `size` threads, each of which is a rank.
void conforms(int size, const MakeBackend& make_backend) {
  std::vector<std::vector<std::string>> failures(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      test::Watchdog watchdog(std::chrono::seconds(60));
      auto group = std::make_shared<Group>();
      for (int i = 0; i < size; ++i) group->ranks.push_back(i);
      group->rank = rank;
      const auto backend = make_backend(rank);
      test::Conformance suite(*backend, group, watchdog);
      suite.run();
      failures[static_cast<std::size_t>(rank)] = suite.failures();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& of_rank : failures) {
    for (const std::string& failure : of_rank) {
      INFO(failure);
      CHECK(false);
    }
  }
}

}  // namespace

TEST_CASE("inproc conforms on 1 to 4 ranks") {
  for (int size = 1; size <= 4; ++size) {
    auto hub = std::make_shared<inproc::Hub>(size);
    conforms(size, [&](int rank) { return hub->backend(rank); });
  }
}

TEST_CASE("p2p conforms without MPI, whichever algorithm reduces") {
  for (const char* const algorithm : {"", "ring", "halving_doubling"}) {
    for (const int size : {2, 3}) {
      INFO(algorithm << ", " << size << " ranks");
      const auto table = p2p::AlgorithmTable::with(algorithm);
      REQUIRE(table.ok());
      const std::vector<int> nodes(static_cast<std::size_t>(size), -1);
      std::vector<std::shared_ptr<p2p::Transport>> transports;
      for (auto& transport : inproc::make_transports(size)) {
        transports.push_back(std::move(transport));
      }
      conforms(size, [&](int rank) {
        // Segments that are short beside the suite's tensors.
        p2p::P2pOptions options{*table, nodes, std::string(algorithm).empty(), 4096};
        return p2p::make_p2p_backend(transports[static_cast<std::size_t>(rank)], options);
      });
    }
  }
}
