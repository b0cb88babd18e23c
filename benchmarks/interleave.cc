// SPDX-License-Identifier: Apache-2.0
#include "interleave.h"

#include <mpi.h>

#include <algorithm>
#include <chrono>

namespace ringleader::benchmarks {
namespace {

using Clock = std::chrono::steady_clock;

double time_us(const Contender& contender, int repeats) {
  MPI_Barrier(MPI_COMM_WORLD);
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < repeats; ++i) contender.run();
  double elapsed = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
  MPI_Allreduce(MPI_IN_PLACE, &elapsed, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return elapsed / repeats;
}

}  // namespace

std::vector<std::vector<double>> interleave(const std::vector<Contender>& contenders,
                                            const Timing& timing) {
  const std::size_t count = contenders.size();
  std::vector<std::vector<double>> times(count);
  for (int round = -timing.warmup; round < timing.iterations; ++round) {
    for (std::size_t i = 0; i < count; ++i) {
      // Who comes after whom alternates, as each finds the caches as the one before left them.
      const std::size_t who = round % 2 == 0 ? i : count - 1 - i;
      const double time = time_us(contenders[who], timing.repeats);
      if (round >= 0) times[who].push_back(time);
    }
  }
  return times;
}

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

Ratio ratio_of(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < a.size(); ++i) ratios.push_back(b[i] / a[i]);
  return {quantile(ratios, 0.5), quantile(ratios, 0.25), quantile(ratios, 0.75)};
}

}  // namespace ringleader::benchmarks
