// SPDX-License-Identifier: Apache-2.0
//
// What the algorithms move, summed over the ranks, against closed forms:
//
//   mpirun -np 4 traffic_test
//
// n bytes per rank, P ranks, segments of s bytes. The sizes are such that nothing is left over.
#include <ringleader/core/traffic.h>
#include <ringleader/ops/arena.h>
#include <ringleader/ops/world.h>

#include <mpi.h>

#include <bit>
#include <cstdio>
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
    return Case{name, "ring", algorithm, deterministic, Op::allreduce, size, 1, false, expected};
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

/// Of all ranks, for one batch in place.
Traffic run(const Case& c, World& world, Memory& memory) {
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
  Backend& backend = *world.backends.front();
  const Traffic before = traffic_meter.read();
  const auto ticket = backend.launch(batch);
  if (!ticket.ok()) return {};
  while (!backend.poll(*ticket)) std::this_thread::yield();
  Traffic moved = traffic_meter.read() - before;
  MPI_Allreduce(MPI_IN_PLACE, &moved, sizeof moved / sizeof(Count), MPI_UINT64_T, MPI_SUM,
                MPI_COMM_WORLD);
  return moved;
}

bool check(const Case& c) {
  Config config;
  config.segment_bytes = kSegment;
  config.algorithms = c.algorithms;
  config.deterministic = c.deterministic;
  auto world = open_world(nullptr, config);
  if (!world.ok() || !prefer_backend(world->backends, c.backend).ok()) return false;
  Memory memory(c);
  const Traffic moved = run(c, *world, memory);
  const Traffic& e = c.expected;
  const bool right = std::memcmp(&moved, &e, sizeof e) == 0;
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
  const auto p = static_cast<Count>(ranks);
  for (const Case& c : cases_of_node(p)) right = check(c) && right;
  for (const Case& c : cases_of_messages(p)) right = check(c) && right;
  MPI_Finalize();
  return right ? 0 : 1;
}
