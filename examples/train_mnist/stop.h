// SPDX-License-Identifier: Apache-2.0
//
// Stop: ends the program early. The ranks agree on it, so that a wrong command line or a damaged
// file ends all of them at once and is reported exactly once.
//
//   run_on_all_ranks("startup/data", [&] { data = load(directory); });   // may throw Stop anywhere
//   require_equal("startup/options", {{"--batch-size", 32}});
//
// All functions here are collective: every rank calls them in the same order.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace train_mnist {

constexpr int kExitSuccess = 0;
constexpr int kExitFailure = 1;  ///< the run failed, or did not reach the target accuracy
constexpr int kExitUsage = 2;    ///< wrong options or wrong data

/// what() is what this rank must print; empty if another rank prints it.
class Stop : public std::runtime_error {
 public:
  Stop(int exit_code, const std::string& message)
      : std::runtime_error(message), exit_code_(exit_code) {}
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

/// Runs a function that concerns this rank alone. If it throws Stop on any rank, all ranks throw
/// Stop with the same exit code, and only the lowest such rank has a message. An error takes
/// precedence over a success such as --help.
void run_on_all_ranks(std::string_view name, const std::function<void()>& function);

struct NamedValue {
  std::string name;
  double value = 0;  ///< integers up to 2^53 are exact
};

/// Throws Stop on all ranks if a value differs between ranks; rank 0 has the message, which names
/// the first such value and two ranks. All ranks pass the same names.
void require_equal(std::string_view name, const std::vector<NamedValue>& values);

/// What all ranks' parameters hash to, or the first rank whose hash is not that of rank 0.
struct HashComparison {
  std::uint64_t hash = 0;   ///< of rank 0
  int rank_different = -1;  ///< -1: all are equal
};
HashComparison compare_hashes(std::string_view name, const std::vector<float>& values);

}  // namespace train_mnist
