// SPDX-License-Identifier: Apache-2.0
//
// Programs that start and stop the library, or live, in ways of their own; one per word on the
// command line, some with an argument. process_test.py says with how many ranks and what must come
// of them. A program that finds something wrong prints it and ends with 1.
#include "process.h"

#include <ringleader/ringleader.h>

#include <mpi.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

using namespace ringleader;

namespace {

void init_mpi(int level) {
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, level, &provided);
}

std::size_t entries_of(const char* folder) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    (void)entry;
    ++count;
  }
  return count;
}

/// A completion callback, on the library's thread, ends the process.
int exit_in_callback() {
  static std::vector<float> x(1000, 1.F);
  init();
  barrier();
  allreduce_async("x", x, ReduceOp::sum).then([](const Status& status) {
    std::exit(status.ok() ? 0 : 1);
  });
  for (;;) ::pause();
}

/// A thread other than the main one ends the process.
int exit_in_thread() {
  init();
  const int status = reduce();
  std::thread([status] { std::exit(status); }).join();
  return 1;
}

/// Children leave by exit() and use what the parent has; the parent trains on.
int fork_children() {
  init();
  static std::vector<float> weight(8, 0.F);
  static std::vector<float> gradient(8, 1.F);
  static DistributedOptimizer optimizer(
      flat_slots(weight.data(), gradient.data(), {{"w", 8}}), [] {}, GradientMeaning::mean);
  for (int step = 0; step < 30; ++step) {
    if (step % 10 == 5) {
      const pid_t child = ::fork();
      if (child == 0) {
        try {
          reduce("child");
          std::exit(3);
        } catch (const Error& error) {
          const bool told = std::string(error.what()).find("fork()") != std::string::npos;
          std::exit(error.code() == Code::not_initialized && told ? 0 : 4);
        }
      }
      int status = 0;
      if (::waitpid(child, &status, 0) != child || status != 0) {
        return wrong("the child ended with " + std::to_string(status));
      }
    }
    optimizer.step();
  }
  return reduce();
}

/// The program owns MPI and ends it without shutdown().
int finalize_first() {
  init_mpi(MPI_THREAD_MULTIPLE);
  init();
  const int status = reduce();
  MPI_Finalize();
  if (is_initialized()) return wrong("the library runs without MPI");
  return status;
}

/// Communicators that are no group of this process.
int communicators() {
  init_mpi(MPI_THREAD_MULTIPLE);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm half = MPI_COMM_NULL;
  MPI_Comm both = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, rank % 2, rank, &half);
  MPI_Intercomm_create(half, 0, MPI_COMM_WORLD, 1 - rank % 2, 7, &both);
  const MPI_Comm none = MPI_COMM_NULL;
  int status = 0;
  for (const MPI_Comm* const given : {&none, const_cast<const MPI_Comm*>(&both)}) {
    try {
      InitOptions options;
      options.mpi_communicator = given;
      init(options);
      status = wrong("it was accepted");
    } catch (const Error& error) {
      if (error.code() != Code::invalid_argument) status = wrong(error.what());
    }
  }
  init();
  status |= reduce();
  shutdown();
  MPI_Finalize();
  return status;
}

/// RINGLEADER_TEST_BREAKS is what goes wrong on rank 1 alone.
int init_fails() {
  init_mpi(MPI_THREAD_MULTIPLE);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const std::string what = argument;
  if (rank == 1 && what == "value") ::setenv("RINGLEADER_TREE_RADIX", "99", 1);
  if (rank == 1 && what == "folder") ::setenv("RINGLEADER_FLIGHT_DIR", "/proc/none", 1);
  int status = 1;
  try {
    init();
    status = wrong("init() returned");
    shutdown();
  } catch (const Error& error) {
    std::printf("rank %d: %s\n", rank, error.what());
    std::fflush(stdout);
    status = 0;
  }
  ::unsetenv("RINGLEADER_TREE_RADIX");
  ::unsetenv("RINGLEADER_FLIGHT_DIR");
  init();  // and it can be tried again
  status |= reduce();
  shutdown();
  MPI_Finalize();
  return status;
}

int funneled_poll() {
  init_mpi(MPI_THREAD_SINGLE);
  init();
  std::vector<float> x(1000, 1.F);
  const Handle handle = allreduce_async("x", x, ReduceOp::sum);
  while (!handle.ready()) nap(1000);  // a watchdog ends a hang
  shutdown();
  MPI_Finalize();
  return x[0] > 1.F ? 0 : wrong("the sum");
}

/// A thread waits, and the one that may make progress does not come.
int funneled_worker() {
  init_mpi(MPI_THREAD_FUNNELED);
  init();
  int status = 1;
  std::thread([&] {
    try {
      reduce("of a worker");
      status = wrong("it was reduced");
    } catch (const Error& error) {
      const std::string text = error.what();
      status = text.find("MPI_THREAD_MULTIPLE") != text.npos && text.find("worker") != text.npos
                   ? 0
                   : wrong(text);
    }
  }).join();
  status |= reduce();
  shutdown();
  MPI_Finalize();
  return status;
}

/// The program sends its own messages beside the library's.
int own_messages() {
  const Session session;
  int provided = 0;
  MPI_Query_thread(&provided);
  const int other = (rank() + 1) % size();
  for (int i = 0; i < 2000; ++i) {
    std::vector<float> x(100, 1.F);
    const Handle handle = allreduce_async("x", x, ReduceOp::sum);
    std::optional<std::unique_lock<std::mutex>> lock;
    if (provided < MPI_THREAD_MULTIPLE) lock.emplace(lock_mpi());
    int sent = rank() + i;
    int received = -1;
    MPI_Sendrecv(&sent, 1, MPI_INT, other, 0, &received, 1, MPI_INT, (rank() + size() - 1) % size(),
                 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    lock.reset();
    handle.wait();
    if (received != (rank() + size() - 1) % size() + i || x[0] != static_cast<float>(size())) {
      return wrong("a message");
    }
  }
  return 0;
}

int closed_descriptors() {
  for (const int descriptor : {0, 2}) ::close(descriptor);
  std::vector<char, SharedAllocator<char>> tensor(4096, 'Z');
  init();
  for (const int descriptor : {0, 2}) {
    char target[256] = "";
    const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
    if (::readlink(path.c_str(), target, sizeof target - 1) > 0 &&
        std::strstr(target, "ringleader") != nullptr) {
      return wrong("a descriptor is the segment's");
    }
  }
  log(LogLevel::error, "a line of the log");
  for (const char value : tensor) {
    if (value != 'Z') return wrong("the log was written to a tensor");
  }
  return reduce();
}

int limits() {
  const rlimit files{64U << 20, 64U << 20};
  const rlimit addresses{4ULL << 30, 4ULL << 30};
  if (::setrlimit(RLIMIT_FSIZE, &files) != 0 || ::setrlimit(RLIMIT_AS, &addresses) != 0) return 77;
  const Session session;
  std::vector<float, SharedAllocator<float>> x(1 << 20, 1.F);
  allreduce("x", x, ReduceOp::sum);
  if (x[12345] != static_cast<float>(size())) return wrong("the sum");
  return reduce();
}

/// The flight recorder's folder is relative, and the program goes elsewhere.
int change_folder() {
  ::setenv("RINGLEADER_FLIGHT_DIR", "flight", 1);
  init();
  const int status = reduce();
  if (::chdir("/") != 0) return 1;
  ::raise(SIGUSR2);
  return status;
}

/// Signals of the program interrupt it, and go to its own threads.
std::atomic<int> signals{0};
std::atomic<pthread_t> signalled{};
int signals_interrupt() {
  struct sigaction action = {};
  action.sa_handler = [](int) {
    ++signals;
    signalled = ::pthread_self();
  };
  ::sigaction(SIGALRM, &action, nullptr);  // without SA_RESTART
  const itimerval often{{0, 1000}, {0, 1000}};
  ::setitimer(ITIMER_REAL, &often, nullptr);
  init();
  const pthread_t self = ::pthread_self();
  for (int i = 0; i < 300; ++i) {
    if (reduce() != 0) return 1;
    auto* const memory = static_cast<char*>(allocate(3U << 20));  // system calls
    memory[0] = 1;
    ringleader::free(memory);
    if (signals > 0 && ::pthread_equal(signalled, self) == 0) return wrong("a thread of ours");
    if (i % 100 == 0) nap(5000);
  }
  while (signals == 0) nap(1000);
  const itimerval never{};
  ::setitimer(ITIMER_REAL, &never, nullptr);
  return 0;
}

/// A sink calls the library whenever it gets a line.
int sink() {
  std::atomic<int> lines{0};
  set_log_sink([&](LogLevel, std::string_view) {
    ++lines;
    if (is_initialized()) (void)rank();
    log(LogLevel::off, "from the sink");
  });
  InitOptions options;
  options.config.log_level = LogLevel::debug;
  init(options);
  const int status = reduce();
  shutdown();
  set_log_sink({});
  return lines > 0 ? status : wrong("no lines");
}

int many_sessions() {
  const auto begin_and_end = [](int times) {
    for (int i = 0; i < times; ++i) {
      const Session session;
      if (i % 50 == 0) reduce();
    }
  };
  begin_and_end(100);
  const std::size_t files = entries_of("/proc/self/fd");
  const std::size_t threads = entries_of("/proc/self/task");
  begin_and_end(std::stoi(argument));
  if (entries_of("/proc/self/fd") > files) return wrong("files are left open");
  if (entries_of("/proc/self/task") > threads) return wrong("threads are left");
  return 0;
}

int no_session() {
  try {
    reduce("loss");
  } catch (const Error& error) {
    const std::string text = error.what();
    const bool names = text.find("allreduce 'loss' (process.h:") != text.npos;
    return names && text.find("init()") != text.npos ? 0 : wrong(text);
  }
  return 1;
}

/// Rank 1 ends after the first session; the others begin another one.
int one_has_ended() {
  init();
  const bool leaves = rank() == 1;
  const int status = reduce();
  shutdown();
  if (leaves) return status;
  nap(300'000);
  try {
    init();
    return wrong("a session without rank 1");
  } catch (const Error& error) {
    const bool told = std::string(error.what()).find("process 1 has ended") != std::string::npos;
    return error.code() == Code::rank_lost && told ? 0 : wrong(error.what());
  }
}

/// Uses the library for one operation.
int one_operation() {
  const Session session;
  std::printf("rank %d of %d\n", rank(), size());
  std::fflush(stdout);
  try {
    return reduce();
  } catch (const Error& error) {
    std::printf("refused: %s\n", error.what());
    return 3;
  }
}

/// The result of an allgather is larger than the memory of the machine.
int no_memory() {
  const Session session;
  const rlimit addresses{1ULL << 40, 1ULL << 40};
  ::setrlimit(RLIMIT_AS, &addresses);
  std::vector<char> small(16);
  // Never read: the operation must not get so far.
  const ConstTensorView input(small.data(), {std::int64_t{1} << 40}, DType::u8);
  try {
    (void)allgather("all", input);
    return wrong("it succeeded");
  } catch (const Error& error) {
    if (error.code() != Code::no_memory) return wrong(error.what());
    if (std::string(error.what()).find("allgather 'all'") == std::string::npos) {
      return wrong(error.what());
    }
  }
  std::vector<float> x(100, 1.F);
  const Handle handle = allreduce_async("after", x, ReduceOp::sum);
  while (!handle.ready()) nap(1000);  // in the background
  return x[0] == static_cast<float>(size()) ? 0 : wrong("the sum");
}

const std::map<std::string, std::function<int()>> programs = {
    {"exit_in_callback", exit_in_callback},
    {"exit_in_thread", exit_in_thread},
    {"fork_children", fork_children},
    {"finalize_first", finalize_first},
    {"communicators", communicators},
    {"init_fails", init_fails},
    {"funneled_poll", funneled_poll},
    {"funneled_worker", funneled_worker},
    {"own_messages", own_messages},
    {"closed_descriptors", closed_descriptors},
    {"limits", limits},
    {"change_folder", change_folder},
    {"signals_interrupt", signals_interrupt},
    {"sink", sink},
    {"many_sessions", many_sessions},
    {"no_session", no_session},
    {"one_has_ended", one_has_ended},
    {"one_operation", one_operation},
    {"no_memory", no_memory},
    {"pool_thread", pool_thread},
    {"stopped_while_opening", stopped_while_opening},
    {"uneven_steps", uneven_steps},
    {"restart_and_exit",
     [] {
       init();
       shutdown();
       init();
       return 0;
     }},
};

}  // namespace

int main(int argc, char** argv) {
  const auto found = programs.find(argc > 1 ? argv[1] : "");
  if (found == programs.end()) return 2;
  if (argc > 2) argument = argv[2];
  return found->second();
}
