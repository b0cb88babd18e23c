// SPDX-License-Identifier: Apache-2.0
//
// Shared memory with ranks as threads: a thread sanitizer sees all of it. conformance.shm runs the
// same suite with ranks as processes.
#include "../support/catch.h"
#include "../support/watchdog.h"
#include "conformance.h"
#include "moving_backend.h"
#include "shm_stress.h"

#include <ringleader/collectives/shm/node.h>
#include <ringleader/collectives/shm/range_allocator.h>
#include <ringleader/collectives/shm/segment.h>
#include <ringleader/collectives/shm/shm_backend.h>
#include <ringleader/collectives/shm/store_choice.h>

#include <barrier>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace ringleader;

namespace {

/// Lets threads gather what each of them brings.
class ThreadGather {
 public:
  explicit ThreadGather(int size) : values_(static_cast<std::size_t>(size)), barrier_(size) {}

  std::vector<std::string> operator()(int rank, const std::string& value) {
    values_[static_cast<std::size_t>(rank)] = value;
    barrier_.arrive_and_wait();
    std::vector<std::string> all = values_;
    barrier_.arrive_and_wait();
    return all;
  }

 private:
  std::vector<std::string> values_;
  std::barrier<> barrier_;
};

struct Rank {
  std::shared_ptr<const Group> group;
  std::shared_ptr<shm::Segment> segment;
  std::unique_ptr<Backend> backend;
};

constexpr std::int64_t kSegmentBytes = std::int64_t{1} << 30;

/// Runs body on `size` threads that share a node.
void run_ranks(int size, const std::function<void(Rank&)>& body) {
  ThreadGather gather(size);
  std::vector<std::thread> threads;
  std::mutex mutex;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      Rank rank;
      auto group = std::make_shared<Group>();
      for (int i = 0; i < size; ++i) group->ranks.push_back(i);
      group->rank = r;
      rank.group = group;
      rank.segment = *shm::Segment::create(kSegmentBytes);
      auto node = shm::Node::open(rank.segment, *group, std::vector<int>(group->ranks.size(), 0),
                                  [&gather, r](const Group&, const std::string& value) {
                                    return Result<std::vector<std::string>>(gather(r, value));
                                  });
      rank.backend = shm::make_shm_backend(*node);
      body(rank);
      gather(r, "");
      rank.backend.reset();
      gather(r, "");  // nobody's segment goes while others look into it
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void check_conformance(int size, bool in_arena) {
  test::Watchdog watchdog(std::chrono::seconds(120));
  std::mutex mutex;
  std::vector<std::string> failures;
  run_ranks(size, [&](Rank& rank) {
    test::MovingBackend arena(*rank.backend, test::in_segment(*rank.segment));
    test::Conformance suite(in_arena ? arena : *rank.backend, rank.group, watchdog);
    suite.run();
    const std::lock_guard lock(mutex);
    failures.insert(failures.end(), suite.failures().begin(), suite.failures().end());
  });
  for (const std::string& failure : failures) {
    INFO(failure);
    CHECK(false);
  }
}

}  // namespace

TEST_CASE("ranges are given out lowest first, taken back and merged") {
  shm::RangeAllocator ranges(1000, 64);
  CHECK(ranges.allocate(1) == 0);
  CHECK(ranges.allocate(65) == 64);
  CHECK(ranges.allocate(64) == 192);
  CHECK(ranges.free(64) == 128);
  CHECK(ranges.free(64) == 0);  // twice
  CHECK(ranges.free(1) == 0);
  CHECK(ranges.allocate(128) == 64);
  CHECK(ranges.free(0) == 64);
  CHECK(ranges.free(192) == 64);
  CHECK(ranges.free(64) == 128);
  CHECK(ranges.bytes_used() == 0);
  CHECK(ranges.allocate(960) == 0);
  CHECK(ranges.allocate(1) == std::nullopt);
}

TEST_CASE("ranges never overlap, whatever the order") {
  std::mt19937 random(3);
  shm::RangeAllocator ranges(1 << 16, 64);
  std::map<std::int64_t, std::int64_t> taken;
  for (int i = 0; i < 20'000; ++i) {
    if (random() % 2 == 0 || taken.empty()) {
      const std::int64_t bytes = 1 + random() % 3000;
      const auto offset = ranges.allocate(bytes);
      if (!offset) continue;
      const auto next = taken.lower_bound(*offset);
      REQUIRE((next == taken.end() || *offset + bytes <= next->first));
      REQUIRE(
          (next == taken.begin() || std::prev(next)->first + std::prev(next)->second <= *offset));
      taken[*offset] = bytes;
    } else {
      const auto victim =
          std::next(taken.begin(), static_cast<std::ptrdiff_t>(random() % taken.size()));
      REQUIRE(ranges.free(victim->first) >= victim->second);
      taken.erase(victim);
    }
  }
}

TEST_CASE("a segment says that it has no memory left") {
  const auto segment = *shm::Segment::create(1 << 20);
  CHECK(segment->allocate((1 << 20) + 1) == nullptr);
  void* const all = segment->allocate(1 << 20);
  REQUIRE(all != nullptr);
  CHECK(segment->allocate(1) == nullptr);
  CHECK(segment->contains(all, 1 << 20));
  CHECK_FALSE(segment->contains(all, (1 << 20) + 1));
  CHECK(segment->free(all));
  CHECK_FALSE(segment->free(all));
  int outside = 0;
  CHECK_FALSE(segment->free(&outside));
  CHECK(segment->allocate(64) == all);
}

TEST_CASE("a mapping is refused if the file behind it is another") {
  const auto segment = *shm::Segment::create(1 << 20);
  shm::Identity identity = segment->identity();
  identity.process = getppid();
  CHECK_FALSE(shm::Mapping::open(identity, nullptr).ok());
}

TEST_CASE("stages are written in the way that is cheaper now") {
  shm::StoreChoice choice;
  std::uint64_t first = 0;  // slice of the batch
  // What slices take from here on, per byte; returns how many of a period went past the caches.
  const auto period = [&](double cached, double streamed, std::int64_t bytes) {
    int streams = 0;
    for (std::uint64_t s = 0; s < shm::StoreChoice::kPeriod; ++s, ++first) {
      if (s % 300 == 0) choice.end_batch(std::exchange(first, 0));
      if (choice.streams(first)) ++streams;
      if (!choice.is_timed(first)) continue;
      const double interrupted = s % 4 == 1 ? 1 : 0;
      const double each = choice.streams(first) ? streamed : cached;
      choice.took(first, interrupted + each * static_cast<double>(bytes), bytes);
    }
    return streams;
  };
  const int trial = shm::StoreChoice::kTrial;
  const int rest = static_cast<int>(shm::StoreChoice::kPeriod) - 2 * trial;
  CHECK(period(5e-11, 8e-11, 1 << 18) == trial);
  CHECK(period(3e-10, 8e-11, 1 << 18) == trial + rest);  // the cores have parted
  CHECK(period(5e-11, 8e-11, 1 << 10) == trial + rest);  // small ones say nothing
  CHECK(period(5e-11, 8e-11, 1 << 18) == trial);
}

TEST_CASE("shared memory conforms, tensors anywhere") {
  for (const int size : {1, 3}) check_conformance(size, false);
}

TEST_CASE("shared memory conforms, tensors in the arena") {
  for (const int size : {1, 3}) check_conformance(size, true);
}

TEST_CASE("7 ranks get what they should, whatever is where") {
  test::Watchdog watchdog(std::chrono::seconds(120));
  std::mutex mutex;
  std::vector<std::string> wrong;
  run_ranks(7, [&](Rank& rank) {
    const auto found = test::stress(*rank.backend, *rank.segment, rank.group, 30, watchdog);
    const std::lock_guard lock(mutex);
    wrong.insert(wrong.end(), found.begin(), found.end());
  });
  for (const std::string& text : wrong) {
    INFO(text);
    CHECK(false);
  }
}
