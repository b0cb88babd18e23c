// SPDX-License-Identifier: Apache-2.0
//
// What the programs of process.cc share, and those that process_waiting.cc holds.
#pragma once

#include <ringleader/ringleader.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

inline std::string argument;  // the second word

inline void nap(double microseconds) {
  std::this_thread::sleep_for(std::chrono::duration<double, std::micro>(microseconds));
}

/// Prints what is wrong; the program's exit status.
inline int wrong(const std::string& what) {
  std::printf("wrong: %s\n", what.c_str());
  std::fflush(stdout);
  return 1;
}

/// An allreduce that works.
inline int reduce(const char* name = "x") {
  std::vector<float> x(1000, 1.F);
  ringleader::allreduce(name, x, ringleader::ReduceOp::sum);
  return x[999] == static_cast<float>(ringleader::size()) ? 0 : wrong("the sum");
}

int pool_thread();
int stopped_while_opening();
int uneven_steps();
