// SPDX-License-Identifier: Apache-2.0
#include "../support/catch.h"

#include <ringleader/core/runtime/flight_recorder.h>
#include <ringleader/core/runtime/ticks.h>

#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <string>

using namespace ringleader;
using runtime::FlightLog;

namespace {

void describe(Operation& operation, const std::string& name) {
  protocol::Request request;
  request.name = name;
  request.tensors = {{"", {3, 5}, DType::f32}};
  operation.request = request;
  operation.where = SourceLocation{"somewhere/else/train.cc", 77};
}

}  // namespace

TEST_CASE("the flight recorder keeps the last 1,024 operations") {
  const auto recorder = std::make_unique<runtime::FlightRecorder>(3, 4);
  Operation first;
  describe(first, "first");
  recorder->submitted(first, nullptr, -1, 10);
  for (std::size_t i = 0; i < FlightLog::kRecords; ++i) {
    Operation next;
    describe(next, "next" + std::to_string(i));
    recorder->submitted(next, nullptr, 7, 20);
    recorder->decided(next, 30);
    recorder->launched(next, 40);
    next.status = Status(Code::mismatch, "");
    recorder->completed(next, 50);
  }
  recorder->completed(first, 60);  // its record has been overwritten since
  const FlightLog& log = recorder->log();
  CHECK(log.rank == 3);
  CHECK(log.size == 4);
  std::uint64_t last = 0;
  for (const auto& record : log.records) {
    CHECK(record.sequence > 1);
    last = std::max(last, record.sequence);
    CHECK(record.submitted == 20);
    CHECK(record.decided == 30);
    CHECK(record.launched == 40);
    CHECK(record.completed == 50);
    CHECK(record.code == static_cast<std::uint8_t>(Code::mismatch));
    CHECK(record.bytes == 60);
    CHECK(record.step == 7);
    CHECK(record.line == 77);
    CHECK(std::string(record.file.data()) == "train.cc");
  }
  CHECK(last == FlightLog::kRecords + 1);
}

TEST_CASE("what recording an operation costs") {
  const auto recorder = std::make_unique<runtime::FlightRecorder>(0, 1);
  Operation one;
  describe(one, "a.name.of.usual.length");
  constexpr int kTimes = 100'000;
  const auto begin = runtime::FlightClock::now();
  for (int i = 0; i < kTimes; ++i) {
    recorder->submitted(one, nullptr, -1, runtime::ticks());
    recorder->decided(one, runtime::ticks());
    recorder->launched(one, runtime::ticks());
    recorder->completed(one, runtime::ticks());
  }
  const auto end = runtime::FlightClock::now();
  fmt::print("flight recorder: {:.0f} ns per operation\n",
             static_cast<double>(end.nanoseconds - begin.nanoseconds) / kTimes);
  CHECK(end.ticks > begin.ticks);
  CHECK(recorder->log().records[kTimes % FlightLog::kRecords].sequence == kTimes);
}
