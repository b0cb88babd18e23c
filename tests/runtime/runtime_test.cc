// SPDX-License-Identifier: Apache-2.0
//
// The runtime with ranks as threads: everything but MPI, so that a thread sanitizer sees all of it.
#include "../support/catch.h"
#include "../support/watchdog.h"

#include <ringleader/collectives/inproc/inproc.h>
#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/core/log.h>
#include <ringleader/core/runtime/runtime.h>

#include <sys/resource.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

using namespace ringleader;
using runtime::Runtime;

namespace {

/// Runs body(rank, runtime) on `size` threads, each with a runtime of its own.
void run_ranks(int size, const std::function<void(int, Runtime&)>& body, bool background = true) {
  test::Watchdog watchdog(std::chrono::seconds(100));
  const auto hub = std::make_shared<inproc::Hub>(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      runtime::RuntimeOptions options;
      options.node.rank = rank;
      options.node.size = size;
      options.node.radix = 2;
      options.background_thread = background;
      options.oversubscribed = true;
      options.memory.fill_neutral = kernels::fill_neutral;
      std::vector<std::unique_ptr<Backend>> backends;
      backends.push_back(hub->backend(rank));
      const auto runtime =
          std::make_shared<Runtime>(options, hub->control_plane(rank), std::move(backends));
      runtime->start();
      body(rank, *runtime);
      runtime->shutdown();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

std::shared_ptr<Operation> sum_of(const std::string& name, std::vector<float>& values) {
  auto operation = std::make_shared<Operation>();
  protocol::Request request;
  request.name = name;
  request.tensors = {{"", {static_cast<std::int64_t>(values.size())}, DType::f32}};
  operation->request = request;
  operation->buffers = {{values.data(), values.data()}};
  return operation;
}

double cpu_seconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

}  // namespace

TEST_CASE("blocking and asynchronous operations, with and without a background thread") {
  for (const bool background : {true, false}) {
    run_ranks(
        4,
        [](int rank, Runtime& runtime) {
          for (int i = 0; i < 50; ++i) {
            std::vector<float> a(10, static_cast<float>(rank));
            std::vector<float> b(1000, 1.f);
            const auto first = sum_of("a", a);
            const auto second = sum_of("b", b);
            runtime.post(second);
            runtime.run(first);
            runtime.wait(*second);
            if (a[9] != 6.f || b[999] != 4.f) throw std::runtime_error("wrong sum");
          }
        },
        background);
  }
}

TEST_CASE("an operation that nobody waits for is completed by the background thread") {
  run_ranks(3, [](int, Runtime& runtime) {
    std::vector<float> values(100, 1.f);
    const auto operation = sum_of("x", values);
    runtime.post(operation);
    while (!operation->done) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (values[0] != 3.f) throw std::runtime_error("wrong sum");
  });
}

TEST_CASE("many threads of a rank submit and wait at once") {
  run_ranks(2, [](int, Runtime& runtime) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([t, &runtime] {
        for (int i = 0; i < 50; ++i) {
          std::vector<float> values(7, 1.f);
          runtime.run(sum_of("thread" + std::to_string(t), values));
          if (values[6] != 2.f) throw std::runtime_error("wrong sum");
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
}

TEST_CASE("a shutdown by one rank ends what the others wait for") {
  run_ranks(3, [](int rank, Runtime& runtime) {
    if (rank == 1) return;
    std::vector<float> values(3, 1.f);
    const auto operation = sum_of("never", values);
    runtime.run(operation);
    if (operation->status.code() != Code::shutdown) throw std::runtime_error("no error");
    if (values[0] != 1.f) throw std::runtime_error("a failed operation changed memory");
    const auto late = sum_of("late", values);
    runtime.run(late);
    if (late->status.code() != Code::shutdown) throw std::runtime_error("no error afterwards");
  });
}

TEST_CASE("an idle runtime sleeps") {
  run_ranks(2, [](int rank, Runtime& runtime) {
    std::vector<float> values(3, 1.f);
    runtime.run(sum_of("x", values));
    const std::uint64_t messages = runtime.counters().control_messages;
    const double before = cpu_seconds();
    std::this_thread::sleep_for(std::chrono::seconds(1));
    if (rank == 0 && cpu_seconds() - before > 0.2) throw std::runtime_error("it does not sleep");
    if (runtime.counters().control_messages != messages) throw std::runtime_error("it talks");
    runtime.run(sum_of("x", values));
  });
}

TEST_CASE("a callback that computes for longer than the grace is no deadlock") {
  run_ranks(2, [](int rank, Runtime& runtime) {
    std::vector<float> first(4, 1.f);
    std::vector<float> second(4, 1.f);
    const auto one = sum_of("one", first);
    const auto two = sum_of("two", second);
    runtime.post(one);
    if (rank == 0) {
      runtime.when_done(one, [&](const Status&) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2500));
        runtime.post(two);
      });
    } else {
      runtime.post(two);
    }
    runtime.wait(*two);
    if (!two->status.ok() || second[0] != 2.f) throw std::runtime_error(two->status.message());
  });
}

TEST_CASE("a completion callback may end the runtime that calls it") {
  for (int round = 0; round < 20; ++round) {
    auto hub = std::make_shared<inproc::Hub>(1);
    runtime::RuntimeOptions options;
    options.memory.fill_neutral = kernels::fill_neutral;
    std::vector<std::unique_ptr<Backend>> backends;
    backends.push_back(hub->backend(0));
    auto runtime = std::make_shared<Runtime>(options, hub->control_plane(0), std::move(backends));
    runtime->start();
    std::vector<float> values(4, 1.f);
    const auto operation = sum_of("x", values);
    std::atomic<bool> ended{false};
    runtime->when_done(operation, [&](const Status&) {
      runtime->shutdown();
      runtime.reset();
      ended = true;
    });
    Runtime* const raw = runtime.get();
    raw->post(operation);
    while (!ended) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST_CASE("log lines of a runtime come with no lock held, so that a sink may use the library") {
  run_ranks(2, [](int rank, Runtime& runtime) {
    if (rank != 0) return;
    std::atomic<bool> called{false};
    set_log_sink([&](LogLevel, std::string_view) {
      (void)runtime.counters();  // takes the runtime's lock
      called = true;
    });
    std::vector<float> values(4, 1.f);
    runtime.run(sum_of("never", values));
    set_log_sink({});
  });
}
