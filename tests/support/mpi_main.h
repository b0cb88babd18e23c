// SPDX-License-Identifier: Apache-2.0
//
// Tests that run under mpirun: every rank runs the same cases in the same order inside one session.
// Only rank 0 reports; the others report what fails on them.
#pragma once

#include "catch_runner.h"
#include "watchdog.h"

#include <ringleader/ringleader.h>

#include <cstdio>
#include <iostream>
#include <sstream>

namespace ringleader::test {

inline int run_cases_under_mpi(int argc, char** argv) {
  Watchdog watchdog(std::chrono::seconds(150));
  watchdog.enter("the whole program");
  const Session session;
  std::ostringstream report;
  std::streambuf* const screen = std::cout.rdbuf(report.rdbuf());
  const int result = run_cases(argc, argv);
  std::cout.rdbuf(screen);
  if (result != 0 || rank() == 0) {
    std::printf("--- rank %d ---\n%s", rank(), report.str().c_str());
    std::fflush(stdout);
  }
  return result;
}

}  // namespace ringleader::test
