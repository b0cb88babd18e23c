// SPDX-License-Identifier: Apache-2.0
//
// Starting and stopping, under mpirun: each mode is one run of the program.
#include <ringleader/ringleader.h>

#include <mpi.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <vector>

using namespace ringleader;

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "failed: %s\n", what);
  std::exit(1);
}

Code code_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    return error.code();
  }
  return Code::ok;
}

void reduce_once() {
  std::vector<float> x(1, 1.f);
  allreduce("x", x, ReduceOp::sum);
  require(x[0] == static_cast<float>(size()), "the sum of ones is the size");
}

/// init, shutdown, init again works; between them everything is a clear error.
void again() {
  require(code_of(reduce_once) == Code::not_initialized, "before init()");
  require(code_of([] { (void)rank(); }) == Code::not_initialized, "rank() before init()");
  for (int i = 0; i < 5; ++i) {
    init();
    init();
    require(is_initialized(), "is_initialized() after init()");
    reduce_once();
    shutdown();
    shutdown();
    require(!is_initialized(), "is_initialized() after shutdown()");
    require(code_of(reduce_once) == Code::not_initialized, "after shutdown()");
  }
}

/// Many sessions without any operation, one directly after the other: nothing of one may be taken
/// for a message of the next.
void restart() {
  for (int i = 0; i < 100; ++i) {
    init();
    shutdown();
  }
}

/// The program initializes MPI and gives half of its processes a communicator of their own.
void communicator(int threads) {
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, threads, &provided);
  int world_rank = 0;
  int world_size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
  MPI_Comm_size(MPI_COMM_WORLD, &world_size);
  MPI_Comm half = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, world_rank % 2, -world_rank, &half);
  InitOptions options;
  options.mpi_communicator = &half;
  init(options);
  MPI_Comm_free(&half);
  int expected = 0;
  for (int r = world_rank % 2; r < world_size; r += 2) ++expected;
  require(size() == expected, "the size is that of the communicator");
  require(rank() == expected - 1 - world_rank / 2, "the rank is that of the communicator");
  for (int i = 0; i < 100; ++i) reduce_once();
  std::vector<float> x(1, 1.f);
  const Handle handle = allreduce_async("async", x, ReduceOp::sum);
  handle.wait();
  shutdown();
  int finalized = 1;
  MPI_Finalized(&finalized);
  require(finalized == 0, "MPI_Finalize is left to who called MPI_Init");
  MPI_Barrier(MPI_COMM_WORLD);
  MPI_Finalize();
  require(code_of([] { init(); }) == Code::transport, "init() after MPI_Finalize");
}

/// One rank shuts down while the others wait.
void shut_down_early() {
  init();
  reduce_once();
  if (rank() == size() - 1) {
    shutdown();
    return;
  }
  std::vector<float> x(1, 1.f);
  std::string text;
  try {
    allreduce("never", x, ReduceOp::sum);
  } catch (const Error& error) {
    require(error.code() == Code::shutdown, "the waiters learn of the shutdown");
    text = error.what();
  }
  require(text.find("rank " + std::to_string(size() - 1)) != std::string::npos,
          "the error names the rank that shut down");
  require(code_of(reduce_once) == Code::shutdown, "operations after it fail at once");
}

/// Neither shutdown() nor MPI_Finalize is called: leaving main does both.
void leave() {
  init();
  reduce_once();
}

void unknown_backend() {
  std::string text;
  InitOptions options;
  options.config.backend = "nonsense";
  try {
    init(options);
  } catch (const Error& error) {
    text = error.what();
  }
  require(text.find("nonsense") != std::string::npos && text.find("p2p") != std::string::npos,
          "an unknown backend is named, and the known ones are listed");
}

}  // namespace

int main(int argc, char** argv) {
  const std::map<std::string, std::function<void()>> modes = {
      {"again", again},
      {"restart", restart},
      {"serialized", [] { communicator(MPI_THREAD_SERIALIZED); }},
      {"funneled", [] { communicator(MPI_THREAD_FUNNELED); }},
      {"shut_down_early", shut_down_early},
      {"leave", leave},
      {"unknown_backend", unknown_backend}};
  const auto mode = modes.find(argc > 1 ? argv[1] : "");
  if (mode == modes.end()) return 2;
  mode->second();
  return 0;
}
