// SPDX-License-Identifier: Apache-2.0
//
// Report: what the program says while it trains, on stdout, and at its end, as JSON. Only rank 0's
// report says anything.
//
//   Report report({.ranks = 2, .device = "cpu", .dataset = "MNIST"}, {.progress = true});
//   report.step(...);   // once per training step
//   report.epoch(...);  // once per epoch
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace train_mnist {

struct RunDescription {
  int ranks = 1;
  std::string device;
  std::string dataset;
  std::int64_t train_count = 0;
  std::int64_t test_count = 0;
};

struct EpochResult {
  double train_loss = 0;         ///< mean over all ranks and steps of the epoch
  double test_accuracy = 0;      ///< 0 to 1
  double images_per_second = 0;  ///< of all ranks, training only
  double seconds = 0;            ///< of the whole epoch
};

struct RunResult {
  std::vector<EpochResult> epochs;
  std::vector<float> steps_loss;  ///< of the first steps, mean over the ranks
  bool parameters_identical = false;
  std::uint64_t parameters_hash = 0;
};

class Report {
 public:
  /// `speaks` is true on rank 0. `progress` asks for a bar, which needs a terminal.
  Report(RunDescription description, int epochs, bool speaks, bool progress);

  /// The first line.
  void begin() const;

  /// Redraws the progress bar if it is due.
  /// done, total  steps of this epoch; images  of all ranks in this epoch so far
  void step(std::int64_t done, std::int64_t total, std::int64_t images, double loss);
  void epoch(const EpochResult& result);

  /// The line about the parameters.
  void end(const RunResult& result) const;

  /// Writes the result on rank 0. Throws std::runtime_error if that fails.
  void write_json(const std::string& path, const RunResult& result) const;

 private:
  using Clock = std::chrono::steady_clock;

  RunDescription description_;
  int epochs_;
  bool speaks_;
  bool draws_;
  int epochs_done_ = 0;
  Clock::time_point epoch_start_ = Clock::now();
  Clock::time_point last_drawn_ = {};
};

/// Throws Stop with kExitUsage if the file cannot be written; leaves an existing file as it is.
void require_writable(const std::string& path);

/// 16 hexadecimal digits.
std::string to_hex(std::uint64_t value);

}  // namespace train_mnist
