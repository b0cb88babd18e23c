// SPDX-License-Identifier: Apache-2.0
//
// FlightFile: writes the flight recorder's memory to <folder>/flight.<rank>.bin when the job fails,
// when a fatal signal arrives, and on SIGUSR2 (the program then goes on).
// scripts/flight_report.py reads the files of all ranks.
#pragma once

#include <ringleader/core/result.h>
#include <ringleader/core/runtime/flight_recorder.h>

#include <memory>
#include <string>
#include <string_view>

namespace ringleader {

/// At most one per process. Signal handlers that the program had installed are called afterwards.
class FlightFile {
 public:
  /// Makes the folder if necessary and installs the handlers. Errors: invalid_argument if the
  /// folder cannot be written to.
  static Result<std::shared_ptr<FlightFile>> open(const std::string& folder, int rank);
  ~FlightFile();
  FlightFile(const FlightFile&) = delete;
  FlightFile& operator=(const FlightFile&) = delete;

  /// Sets the log that is written from now on; null: nothing is written.
  void watch(const runtime::FlightLog* log);

  /// Writes the file, replacing an older one.
  void write(std::string_view reason);

 private:
  FlightFile() = default;
};

}  // namespace ringleader
