// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/session.h>

#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/core/log.h>
#include <ringleader/core/runtime/runtime.h>
#include <ringleader/core/traffic.h>
#include <ringleader/ops/current_session.h>
#include <ringleader/ops/env.h>
#include <ringleader/ops/flight_file.h>
#include <ringleader/ops/world.h>

#include <fmt/core.h>

#include <cmath>
#include <cstdlib>
#include <mutex>
#include <utility>

namespace ringleader {
namespace {

struct Current {
  Topology topology;
  std::shared_ptr<void> world;  ///< outlives the runtime
  std::shared_ptr<runtime::Runtime> runtime;
  bool one_tree = true;
  std::shared_ptr<DevicePort> device;
  std::function<void()> mark_broken;
  std::shared_ptr<FlightFile> flight_file;  ///< null: not asked for
  Traffic traffic_before;                   ///< of the process, when the session began
};

/// The session between init() and shutdown(). Never destroyed: what it holds ends in shutdown(),
/// which also runs when the process exits.
struct Holder {
  std::mutex mutex;
  Current current;
  bool exit_hook = false;
};

Holder& holder() {
  static Holder* const instance = new Holder;
  return *instance;
}

runtime::RuntimeOptions make_runtime_options(const Config& config, const World& world) {
  runtime::RuntimeOptions options;
  options.node.rank = world.topology.rank;
  options.node.size = world.topology.size;
  options.node.radix = config.tree_radix;
  options.node.fusion_bytes_max = config.fusion_bytes_max;
  options.node.names_max = static_cast<std::size_t>(config.names_max);
  const auto microseconds = [](double seconds) { return std::llround(seconds * 1e6); };
  options.node.watch.blocked_grace_us = microseconds(config.blocked_grace_s);
  options.node.watch.stall_warning_us = microseconds(config.stall_warning_s);
  options.node.watch.stall_abort_us = microseconds(config.stall_abort_s);
  options.background_thread = config.background_thread;
  options.any_thread = world.any_thread;
  options.oversubscribed = world.topology.local_size > world.machine.processing_units;
  options.memory = {kernels::fill_neutral, world.device};
  return options;
}

Current start(const InitOptions& options) {
  Result<Config> config = config_from_environment(options.config);
  throw_if_error(config.status());
  set_log_level(config->log_level);
  Result<World> world = open_world(options.mpi_communicator, *config);
  throw_if_error(world.status());
  throw_if_error(prefer_backend(world->backends, config->backend));
  set_log_prefix(fmt::format("[rank {}]", world->topology.rank));
  const Machine& machine = world->machine;
  log(LogLevel::debug,
      fmt::format("{} ranks on this node, {} processing units, {} memory node(s), {} MiB of cache",
                  world->topology.local_size, machine.processing_units, machine.memory_nodes,
                  machine.cache_bytes >> 20));
  if (!world->any_thread && config->background_thread) {
    log(LogLevel::info,
        "MPI was initialized without MPI_THREAD_SERIALIZED: progress is made only "
        "while the program waits");
  }
  Current current;
  current.topology = world->topology;
  current.one_tree = world->one_tree;
  current.device = world->device;
  current.traffic_before = traffic_meter.read();
  current.mark_broken = std::move(world->mark_broken);
  runtime::RuntimeOptions runtime_options = make_runtime_options(*config, *world);
  if (!config->flight_dir.empty()) {
    auto file = FlightFile::open(config->flight_dir, world->topology.rank);
    throw_if_error(file.status());
    current.flight_file = *file;
    runtime_options.on_failure = [file = *file](const Status& reason) {
      file->write(reason.message());
    };
  }
  current.runtime = std::make_shared<runtime::Runtime>(
      std::move(runtime_options), std::move(world->control_plane), std::move(world->backends));
  if (current.flight_file) current.flight_file->watch(&current.runtime->flight_log());
  current.world = std::move(world->keep_alive);
  return current;
}

Traffic traffic_before() {
  Holder& held = holder();
  const std::lock_guard lock(held.mutex);
  return held.current.traffic_before;
}

[[noreturn]] void throw_not_initialized(const char* what) {
  throw Error(
      Status(Code::not_initialized, fmt::format("{}: call ringleader::init() first", what)));
}

}  // namespace

void init(const InitOptions& options) {
  Holder& held = holder();
  const std::lock_guard lock(held.mutex);
  if (held.current.runtime != nullptr) return;
  held.current = start(options);
  if (!std::exchange(held.exit_hook, true)) std::atexit(shutdown);
}

void shutdown() noexcept {
  Holder& held = holder();
  Current current;
  {
    const std::lock_guard lock(held.mutex);
    current = std::exchange(held.current, Current());
  }
  if (current.runtime == nullptr) return;
  current.runtime->shutdown();
  if (log_level() <= LogLevel::info) {
    const runtime::RuntimeCounters sent = current.runtime->counters();
    log(LogLevel::info,
        fmt::format("sent {} control messages of {} bytes; ran {} batches of {} tensors",
                    sent.control_messages, sent.control_bytes, sent.batches, sent.tensors));
  }
  if (current.runtime->failed()) current.mark_broken();
  if (current.flight_file) current.flight_file->watch(nullptr);
  current.runtime.reset();
  current.world.reset();
  set_log_prefix("");
}

bool is_initialized() {
  Holder& held = holder();
  const std::lock_guard lock(held.mutex);
  return held.current.runtime != nullptr;
}

std::shared_ptr<runtime::Runtime> current_runtime(const char* what) {
  Holder& held = holder();
  const std::lock_guard lock(held.mutex);
  if (held.current.runtime == nullptr) throw_not_initialized(what);
  return held.current.runtime;
}

Topology current_topology(const char* what) {
  Holder& held = holder();
  const std::lock_guard lock(held.mutex);
  if (held.current.runtime == nullptr) throw_not_initialized(what);
  return held.current.topology;
}

std::shared_ptr<DevicePort> current_device() {
  Holder& held = holder();
  const std::lock_guard lock(held.mutex);
  return held.current.device;
}

bool sums_by_one_tree() {
  Holder& held = holder();
  const std::lock_guard lock(held.mutex);
  return held.current.one_tree;
}

std::shared_ptr<Operation> make_operation(protocol::Request request) {
  auto operation = std::make_shared<Operation>();
  operation->wish = std::move(request);
  return operation;
}

std::int64_t run_operation(const char* what, protocol::Request request, SourceLocation where) {
  const auto operation = make_operation(std::move(request));
  operation->where = where;
  current_runtime(what)->run(operation);
  throw_if_error(operation->status);
  return operation->value;
}

int rank() { return current_topology("rank()").rank; }
int size() { return current_topology("size()").size; }
int local_rank() { return current_topology("local_rank()").local_rank; }
int local_size() { return current_topology("local_size()").local_size; }

Counters counters() {
  const runtime::RuntimeCounters counters = current_runtime("counters()")->counters();
  const Traffic moved = traffic_meter.read() - traffic_before();
  return {counters.control_messages, counters.control_bytes, counters.batches,
          counters.tensors,          moved.messages,         moved.message_bytes,
          moved.loaded_bytes,        moved.stored_bytes,     moved.copied_bytes};
}

}  // namespace ringleader
