// SPDX-License-Identifier: Apache-2.0
//
// idle: what the library does while the program does not use it.
//
//   $ mpirun -np 2 ./idle 10
//   rank 0: 0 messages, 0.03 % CPU in 10 s
#include <ringleader/ringleader.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

double cpu_seconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

}  // namespace

int main(int argc, char** argv) {
  const int seconds = argc > 1 ? std::atoi(argv[1]) : 10;
  const ringleader::Session session;
  std::vector<float> values = {1.0F};
  ringleader::allreduce("idle", values, ringleader::ReduceOp::sum);
  // The other ranks' last messages may still arrive, and spinning ends.
  std::this_thread::sleep_for(std::chrono::milliseconds(500));

  const auto messages_before = ringleader::counters().control_messages;
  const double cpu_before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::seconds(seconds));
  const double cpu = cpu_seconds() - cpu_before;
  const auto messages = ringleader::counters().control_messages - messages_before;
  std::printf("rank %d: %llu messages, %.3f %% CPU in %d s\n", ringleader::rank(),
              static_cast<unsigned long long>(messages), 100 * cpu / seconds, seconds);
}
