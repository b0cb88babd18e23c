// SPDX-License-Identifier: Apache-2.0
//
// The main function of tests that run under mpirun: every rank runs the same cases in the same
// order inside one session. Only rank 0 reports; the others report what fails on them.
#include "catch_runner.h"
#include "watchdog.h"

#include <ringleader/ringleader.h>

#include <cstdio>
#include <iostream>
#include <sstream>

int main(int argc, char** argv) {
  ringleader::test::Watchdog watchdog(std::chrono::seconds(150));
  watchdog.enter("the whole program");
  const ringleader::Session session;
  std::ostringstream report;
  std::streambuf* const screen = std::cout.rdbuf(report.rdbuf());
  const int result = ringleader::test::run_cases(argc, argv);
  std::cout.rdbuf(screen);
  if (result != 0 || ringleader::rank() == 0) {
    std::printf("--- rank %d ---\n%s", ringleader::rank(), report.str().c_str());
    std::fflush(stdout);
  }
  return result;
}
