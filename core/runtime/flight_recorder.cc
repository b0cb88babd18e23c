// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/runtime/flight_recorder.h>

#include <ringleader/core/runtime/ticks.h>

#include <time.h>

#include <algorithm>
#include <cstring>

namespace ringleader::runtime {
namespace {

template <std::size_t N>
void copy(std::array<char, N>& to, std::string_view text) {
  const std::size_t size = std::min(N, text.size());
  std::memcpy(to.data(), text.data(), size);
  if (size < N) to[size] = '\0';
}

std::int64_t nanoseconds(clockid_t clock) {
  struct timespec time = {};
  ::clock_gettime(clock, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

std::int64_t bytes_of(const protocol::TensorSpec& tensor) {
  return count_of(tensor.shape) * static_cast<std::int64_t>(size_of(tensor.dtype));
}

/// See FlightRecord::op.
std::uint8_t code_of(const protocol::Request& request) {
  if (request.kind == protocol::RequestKind::collective) {
    return static_cast<std::uint8_t>(request.op);
  }
  return static_cast<std::uint8_t>(kOpCount + static_cast<int>(request.kind) - 1);
}

}  // namespace

FlightClock FlightClock::now() { return {runtime::ticks(), runtime::nanoseconds(CLOCK_MONOTONIC)}; }

FlightRecorder::FlightRecorder(int rank, int size) {
  log_.rank = static_cast<std::uint32_t>(rank);
  log_.size = static_cast<std::uint32_t>(size);
  log_.realtime_offset = nanoseconds(CLOCK_REALTIME) - nanoseconds(CLOCK_MONOTONIC);
  log_.begun = FlightClock::now();
}

void FlightRecorder::submitted(Operation& operation, const protocol::Request* plan,
                               std::int64_t step, std::int64_t now) {
  operation.flight = next_++;
  FlightRecord& record = log_.records[operation.flight % FlightLog::kRecords];
  record.sequence = operation.flight;
  record.submitted = now;
  record.decided = record.launched = record.completed = 0;
  record.code = 0;
  record.step = step;
  std::string_view file = operation.where.file;
  file.remove_prefix(file.rfind('/') + 1);  // npos + 1 is 0
  copy(record.file, file);
  record.line = operation.where.line;
  if (plan != nullptr) {
    const auto& tensor = plan->tensors[std::get<PlanParameterRequest>(operation.request).index];
    record.op = static_cast<std::uint8_t>(tensor.op);
    record.process_set = plan->process_set;
    record.bytes = bytes_of(tensor);
    copy(record.name, tensor.name);
  } else if (const auto* request = std::get_if<protocol::Request>(&operation.request)) {
    record.op = code_of(*request);
    record.process_set = request->process_set;
    record.bytes = 0;
    for (const auto& tensor : request->tensors) record.bytes += bytes_of(tensor);
    copy(record.name, request->name);
  }
}

void FlightRecorder::decided(const Operation& operation, std::int64_t now) {
  if (FlightRecord* record = find(operation)) record->decided = now;
}

void FlightRecorder::launched(const Operation& operation, std::int64_t now) {
  if (FlightRecord* record = find(operation)) record->launched = now;
}

void FlightRecorder::completed(const Operation& operation, std::int64_t now) {
  FlightRecord* record = find(operation);
  if (record == nullptr) return;
  record->completed = now;
  record->code = static_cast<std::uint8_t>(operation.status.code());
}

}  // namespace ringleader::runtime
