// SPDX-License-Identifier: Apache-2.0
//
// Times several ways of doing the same thing in turn, so that the noise of a shared machine meets
// all of them, and compares neighbouring times only.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace ringleader::benchmarks {

struct Contender {
  std::string name;
  std::function<void()> run;  ///< collective
};

struct Timing {
  int warmup = 5;
  int iterations = 20;
  int repeats = 1;  ///< runs per measured time: many for what takes microseconds
};

/// Microseconds of one run on the slowest rank: [contender][iteration]. Each round runs all
/// contenders, in another order than the round before. Collective.
std::vector<std::vector<double>> interleave(const std::vector<Contender>& contenders,
                                            const Timing& timing);

/// The value below which a share `q` of the values lies.
double quantile(std::vector<double> values, double q);

/// Of b[i] / a[i]: how many times faster `a` is.
struct Ratio {
  double median = 0;
  double q25 = 0;
  double q75 = 0;
};
Ratio ratio_of(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace ringleader::benchmarks
