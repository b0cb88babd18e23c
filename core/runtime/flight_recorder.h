// SPDX-License-Identifier: Apache-2.0
//
// FlightRecorder: the last operations of this rank and how far each has come, in memory that can be
// written to a file as is, even by a signal handler. scripts/flight_report.py, which knows this
// layout, reads the files of all ranks and says where they diverged.
#pragma once

#include <ringleader/core/runtime/operation.h>
#include <ringleader/core/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

namespace ringleader::runtime {

/// Times are ticks() (ticks.h); 0 if the operation has not come that far. An operation is stamped
/// when the runtime notices.
struct FlightRecord {
  std::uint64_t sequence = 0;  ///< counts this rank's operations: 1, 2, ...; 0: no record
  std::int64_t submitted = 0;
  std::int64_t decided = 0;   ///< all members have submitted it, and this rank was told
  std::int64_t launched = 0;  ///< its data was handed to the backend
  std::int64_t completed = 0;
  std::int64_t bytes = 0;  ///< of all its tensors
  std::int64_t step = -1;  ///< of its plan, if it belongs to one
  std::uint32_t process_set = 0;
  std::int32_t line = 0;
  std::uint8_t op = 0;    ///< as in Op; from kOpCount on: RequestKind::barrier, join, ...
  std::uint8_t code = 0;  ///< as in Code
  std::array<char, 30> file{};
  std::array<char, 64> name{};  ///< cut short if too long, and then not terminated
};

/// The same moment on two clocks.
struct FlightClock {
  std::int64_t ticks = 0;
  std::int64_t nanoseconds = 0;  ///< of the monotonic clock

  static FlightClock now();  ///< async-signal-safe
};

struct FlightLog {
  static constexpr std::size_t kRecords = 1024;

  std::array<char, 8> magic = {'R', 'L', 'F', 'L', 'I', 'G', 'H', '2'};
  std::uint32_t rank = 0;
  std::uint32_t size = 0;
  std::uint32_t record_bytes = sizeof(FlightRecord);
  std::uint32_t records_max = kRecords;
  std::int64_t realtime_offset = 0;  ///< from the monotonic clock to nanoseconds since 1970
  FlightClock begun;                 ///< with `written`, gives the tick rate
  FlightClock written;
  std::array<char, 512> reason{};  ///< why it was written
  std::array<FlightRecord, kRecords> records{};
};

static_assert(std::is_trivially_copyable_v<FlightLog>);

class FlightRecorder {
 public:
  FlightRecorder(int rank, int size);

  /// The operation has been handed over. `plan` is the plan of a plan parameter, otherwise null.
  void submitted(Operation& operation, const protocol::Request* plan, std::int64_t step,
                 std::int64_t now);
  void decided(const Operation& operation, std::int64_t now);
  void launched(const Operation& operation, std::int64_t now);
  void completed(const Operation& operation, std::int64_t now);

  const FlightLog& log() const { return log_; }

 private:
  FlightRecord* find(const Operation& operation) {
    FlightRecord& record = log_.records[operation.flight % FlightLog::kRecords];
    return record.sequence == operation.flight ? &record : nullptr;
  }

  FlightLog log_;
  std::uint64_t next_ = 1;
};

}  // namespace ringleader::runtime
