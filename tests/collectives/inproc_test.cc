// SPDX-License-Identifier: Apache-2.0
#include "conformance.h"

#include "../support/catch.h"

#include <ringleader/collectives/inproc/inproc.h>

#include <thread>

using namespace ringleader;

TEST_CASE("inproc conforms on 1 to 4 ranks") {
  for (int size = 1; size <= 4; ++size) {
    auto hub = std::make_shared<inproc::Hub>(size);
    std::vector<std::vector<std::string>> failures(static_cast<std::size_t>(size));
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size; ++rank) {
      threads.emplace_back([&, rank] {
        test::Watchdog watchdog(std::chrono::seconds(60));
        auto group = std::make_shared<Group>();
        for (int i = 0; i < size; ++i) group->ranks.push_back(i);
        group->rank = rank;
        const auto backend = hub->backend(rank);
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
}
