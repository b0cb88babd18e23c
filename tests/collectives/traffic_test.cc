// SPDX-License-Identifier: Apache-2.0
//
// What the algorithms move, summed over the ranks, against closed forms:
//
//   mpirun -np 4 traffic_test
//
// n bytes per rank, P ranks, segments of s bytes. The sizes are such that nothing is left over.
// In shared memory nothing of it makes a system call.
#include "../support/system_call_trap.h"

#include <ringleader/core/traffic.h>
#include <ringleader/ops/session/arena.h>
#include <ringleader/ops/session/world.h>

#include <mpi.h>
#include <sys/syscall.h>

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

using namespace ringleader;

namespace {

constexpr std::int64_t kSegment = 16 << 10;
constexpr std::int64_t kTensors = 5;
constexpr std::int64_t kLarge = std::int64_t{5} * 64 * (16 << 10);  // n: P <= 64 divides it
constexpr std::int64_t kSmall = 64 * sizeof(float);

// Sanitizers make some of their own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kCountsSystemCalls = false;
#else
constexpr bool kCountsSystemCalls = true;
#endif

struct Case {
  std::string name;
  std::string backend;
  std::string algorithms;
  bool deterministic = true;
  Op op = Op::allreduce;
  std::int64_t bytes = kLarge;
  std::int64_t tensors = 1;
  bool in_arena = false;
  Traffic expected;
};

using Count = std::uint64_t;

/// On one node, in shared memory.
std::vector<Case> cases_of_node(Count p) {
  const Count n = kLarge;
  const Count small = kSmall;
  const Count exchanged = 2 * (p - 1) * n;  // every byte leaves a rank as input and as result
  const auto allreduce = [](const char* name, std::int64_t bytes, std::int64_t tensors,
                            bool in_arena, const Traffic& expected) {
    return Case{name, "shm", "", true, Op::allreduce, bytes, tensors, in_arena, expected};
  };
  return {
      // Every input is read once and every output written once, however many tensors.
      allreduce("direct", kLarge, 1, true, {0, 0, p * n, p * n, 0}),
      allreduce("direct, fused", kLarge, kTensors, true, {0, 0, p * n, p * n, 0}),
      // What others reduce is copied into a stage, and out of one; results are stored twice.
      allreduce("staged", kLarge, 1, false, {0, 0, p * n, 2 * n, exchanged}),
      allreduce("staged, fused", kLarge, kTensors, false, {0, 0, p * n, 2 * n, exchanged}),
      allreduce("small", kSmall, 1, false, {0, 0, p * p * small, p * small, p * small}),
      {"broadcast", "shm", "", true, Op::broadcast, kLarge, 1, true, {0, 0, 0, 0, (p - 1) * n}},
  };
}

/// By messages.
std::vector<Case> cases_of_messages(Count p) {
  const Count n = kLarge;
  const Count small = kSmall;
  const Count middle = 64 * kSmall;
  const Count exchanged = 2 * (p - 1) * n;
  const Count steps = std::bit_width(p) - 1;
  const auto allreduce = [](const char* name, const char* algorithm, bool deterministic,
                            Count bytes, const Traffic& expected) {
    const auto size = static_cast<std::int64_t>(bytes);
    return Case{name, "p2p", algorithm, deterministic, Op::allreduce, size, 1, false, expected};
  };
  std::vector<Case> cases = {
      allreduce("everybody", "everybody", true, small,
                {p * (p - 1), p * (p - 1) * small, p * p * small, p * small, 0}),
      allreduce("exchange", "exchange", true, n, {exchanged / kSegment, exchanged, p * n, n, 0}),
      // A chunk is added to at every rank but one.
      allreduce("ring", "ring", false, n,
                {exchanged / kSegment, exchanged, 2 * (p - 1) * n, (p - 1) * n, 0}),
  };
  if (std::has_single_bit(p)) {
    const Count halved = (p - 1) * middle;
    cases.push_back(allreduce("halving and doubling", "halving_doubling", false, middle,
                              {2 * p * steps, 2 * halved, 2 * halved, halved, 0}));
  }
  return cases;
}

struct Memory {
  explicit Memory(const Case& c) : in_arena(c.in_arena) {
    if (in_arena) {
      data = static_cast<std::byte*>(process_arena(0)->allocate(c.bytes));
    } else {
      own.resize(static_cast<std::size_t>(c.bytes));
      data = own.data();
    }
  }
  ~Memory() {
    if (in_arena) process_arena(0)->free(data);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  bool in_arena;
  std::byte* data = nullptr;
  std::vector<std::byte> own;
};

/// One batch in place.
Batch batch_of(const Case& c, const World& world, const Memory& memory) {
  Batch batch;
  auto group = std::make_shared<Group>();
  for (int i = 0; i < world.topology.size; ++i) group->ranks.push_back(i);
  group->rank = world.topology.rank;
  batch.group = group;
  batch.op = c.op;
  const std::int64_t bytes = c.bytes / c.tensors;
  for (std::int64_t t = 0; t < c.tensors; ++t) {
    std::byte* const data = memory.data + t * bytes;
    std::memset(data, 0, static_cast<std::size_t>(bytes));
    batch.tensors.push_back({data, data, bytes / static_cast<std::int64_t>(sizeof(float))});
  }
  return batch;
}

void finish(Backend& backend, const Batch& batch, void (*rest)()) {
  const auto ticket = backend.launch(batch);
  if (!ticket.ok()) std::abort();
  while (!backend.poll(*ticket)) rest();
}

/// Of all ranks.
Traffic traffic_of(Backend& backend, const Batch& batch) {
  const Traffic before = traffic_meter.read();
  finish(backend, batch, std::this_thread::yield);
  Traffic moved = traffic_meter.read() - before;
  MPI_Allreduce(MPI_IN_PLACE, &moved, sizeof moved / sizeof(Count), MPI_UINT64_T, MPI_SUM,
                MPI_COMM_WORLD);
  return moved;
}

/// The number of some system call that this rank made; -1 if there was none.
int system_call_of(Backend& backend, const Batch& batch) {
  for (int i = 0; i < 3; ++i) finish(backend, batch, std::this_thread::yield);  // has its memory
  const SystemCallTrap trap;
  for (int i = 0; i < 3; ++i) finish(backend, batch, [] {});
  return trap.caught();
}

/// A trap that catches nothing would make the test mean nothing.
bool trap_works() {
  const SystemCallTrap trap;
  std::this_thread::yield();
  return trap.caught() == SYS_sched_yield;
}

bool check(const Case& c) {
  Config config;
  config.segment_bytes = kSegment;
  config.algorithms = c.algorithms;
  config.deterministic = c.deterministic;
  auto world = open_world(nullptr, config, Status());
  if (!world.ok() || !prefer_backend(world->backends, c.backend).ok()) return false;
  Memory memory(c);
  Backend& backend = *world->backends.front();
  const Batch batch = batch_of(c, *world, memory);
  const Traffic moved = traffic_of(backend, batch);
  const Traffic& e = c.expected;
  bool right = std::memcmp(&moved, &e, sizeof e) == 0;
  if (world->topology.rank == 0) {
    std::printf("%-22s %s: %lu messages of %lu bytes, loaded %lu, stored %lu, copied %lu\n",
                c.name.c_str(), right ? "as expected" : "WRONG", moved.messages,
                moved.message_bytes, moved.loaded_bytes, moved.stored_bytes, moved.copied_bytes);
    if (!right) {
      std::printf(
          "%-22s    expected: %lu messages of %lu bytes, loaded %lu, stored %lu, copied "
          "%lu\n",
          "", e.messages, e.message_bytes, e.loaded_bytes, e.stored_bytes, e.copied_bytes);
    }
  }
  if (c.backend == "shm" && kCountsSystemCalls && trap_works()) {
    const int call = system_call_of(backend, batch);
    if (call >= 0) std::printf("%-22s WRONG: system call %d\n", c.name.c_str(), call);
    right = right && call < 0;
  }
  MPI_Barrier(MPI_COMM_WORLD);
  return right;
}

}  // namespace

int main(int argc, char** argv) {
  int provided = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided);
  int ranks = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  bool right = true;
  if (!kCountsSystemCalls || !trap_works()) std::printf("system calls cannot be noticed here\n");
  const auto p = static_cast<Count>(ranks);
  for (const Case& c : cases_of_node(p)) right = check(c) && right;
  for (const Case& c : cases_of_messages(p)) right = check(c) && right;
  MPI_Finalize();
  return right ? 0 : 1;
}
