// SPDX-License-Identifier: Apache-2.0
//
// Scenarios of the simulator whose every choice is a byte of the input: what ranks submit, when,
// how messages are delayed and damaged. No invariant may break.
#include "../sim/simulation.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>

using namespace ringleader::sim;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ScenarioOptions options;
  options.ranks_max = 6;
  const Report report = run(generate(data, size, options));
  if (report.failure.empty()) return 0;
  std::fprintf(stderr, "%s\n", report.failure.c_str());
  std::abort();
}
