// SPDX-License-Identifier: Apache-2.0
//
// Programs in which ranks wait for each other: with threads that sleep, stopped, unevenly.
#include "process.h"

#include <ringleader/ringleader.h>

#include <signal.h>

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

using namespace ringleader;

/// A pool's thread that has used the library sleeps; the others wait for different things.
int pool_thread() {
  const Session session;
  std::mutex mutex;
  std::condition_variable changed;
  bool used = false;
  bool stop = false;
  std::thread pool([&] {
    reduce("warm up");
    std::unique_lock lock(mutex);
    used = true;
    changed.notify_all();
    changed.wait(lock, [&] { return stop; });
  });
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return used; });
  }
  int status = 1;
  try {
    reduce(rank() == 0 ? "a" : "b");
    status = wrong("it was reduced");
  } catch (const Error& error) {
    status = error.code() == Code::stalled ? 0 : wrong(error.what());
  }
  {
    const std::lock_guard lock(mutex);
    stop = true;
    changed.notify_all();
  }
  pool.join();
  return status;
}

/// One rank is stopped while the others begin with a process set, which it is a member of.
int stopped_while_opening() {
  const Session session;
  const ProcessSet set = add_process_set({0, 1, 2});
  reduce();
  if (rank() == 1) {
    ::raise(SIGSTOP);
    return 0;
  }
  std::vector<float> x(10, 1.F);
  ReduceOptions options;
  options.process_set = set;
  try {
    // Rank 1 has submitted nothing: the gradients of a plan need no word of it.
    allreduce("in the set", x, ReduceOp::sum, options);
    return wrong("it was reduced");
  } catch (const Error& error) {
    std::printf("rank %d: %s\n", rank(), error.what());
    std::fflush(stdout);
    return 5;
  }
}

/// Steps that take about as long as the grace, now on one rank, now on another.
int uneven_steps() {
  const Session session;
  constexpr double kGrace_us = 50'000;  // as process_test.py sets it
  std::vector<float> weight(1000, 0.F);
  std::vector<float> gradient(1000, 1.F);
  DistributedOptimizer optimizer(
      flat_slots(weight.data(), gradient.data(), {{"w", 1000}}), [] {}, GradientMeaning::mean);
  const int steps = std::stoi(argument);
  unsigned random = static_cast<unsigned>(rank()) * 7919U + 1U;
  for (int step = 0; step < steps; ++step) {
    random = random * 1664525U + 1013904223U;
    if (step % size() == rank()) {
      nap(kGrace_us * (0.98 + 0.2 * (random >> 16) / 65536.0));
    }
    optimizer.step();
  }
  return 0;
}
