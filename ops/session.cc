// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/session.h>

#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/core/log.h>
#include <ringleader/core/runtime/runtime.h>
#include <ringleader/core/traffic.h>
#include <ringleader/core/version.h>
#include <ringleader/ops/session/current_session.h>
#include <ringleader/ops/session/flight_file.h>
#include <ringleader/ops/session/settings.h>
#include <ringleader/ops/session/world.h>

#include <fmt/core.h>

#include <cmath>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <string_view>
#include <system_error>
#include <utility>

namespace ringleader {
namespace {

struct Current {
  Topology topology;
  std::shared_ptr<void> world;  ///< outlives the runtime
  std::shared_ptr<runtime::Runtime> runtime;
  bool one_tree = true;
  Status alone;  ///< not ok: this is a world of one by mistake
  std::shared_ptr<DevicePort> device;
  std::function<void()> mark_broken;
  std::shared_ptr<FlightFile> flight_file;  ///< null: not asked for
  Traffic traffic_before;                   ///< of the process, when the session began
};

/// The session between init() and shutdown(). Never destroyed: what it holds ends in shutdown(),
/// which also runs when the process exits.
struct Holder {
  std::mutex changing;  ///< held by init() while it works, and before `mutex`
  std::mutex mutex;
  Current current;  ///< guarded by mutex
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
  options.concurrent = world.concurrent;
  options.oversubscribed = world.topology.local_size > world.machine.processing_units;
  options.memory = {kernels::fill_neutral, world.device};
  return options;
}

void log_world(const World& world, const Config& config) {
  if (log_level() > LogLevel::info) return;
  const Machine& machine = world.machine;
  log(LogLevel::debug,
      fmt::format("{} ranks on this node, {} processing units, {} memory node(s), {} MiB of cache",
                  world.topology.local_size, machine.processing_units, machine.memory_nodes,
                  machine.cache_bytes >> 20));
  log(LogLevel::debug, fmt::format("version {}, {}", version(), world.transports));
  if (!world.any_thread && config.background_thread) {
    log(LogLevel::info,
        "MPI was initialized without MPI_THREAD_SERIALIZED: progress is made only "
        "while the program waits");
  }
}

/// The part of init() that may fail on this rank alone. `current.runtime` is not running yet when
/// it returns.
Status prepare(Current& current, World& world, const Config& config) {
  current.topology = world.topology;
  current.one_tree = world.one_tree;
  current.alone = world.alone.refusal;
  current.device = world.device;
  current.traffic_before = traffic_meter.read();
  current.mark_broken = std::move(world.mark_broken);
  runtime::RuntimeOptions runtime_options = make_runtime_options(config, world);
  if (!config.flight_dir.empty()) {
    auto file = FlightFile::open(config.flight_dir, world.topology.rank);
    if (!file.ok()) return file.status();
    current.flight_file = *file;
    runtime_options.on_failure = [file = *file](const Status& reason) {
      file->write(reason.message());
    };
  }
  current.runtime = std::make_shared<runtime::Runtime>(
      std::move(runtime_options), std::move(world.control_plane), std::move(world.backends));
  if (current.flight_file) current.flight_file->watch(&current.runtime->flight_log());
  return Status();
}

/// Turns an exception of the system (no memory, no thread) into a status.
template <typename Work>
Status guarded(const Work& work) {
  try {
    return work();
  } catch (const Error& error) {
    return error.status();
  } catch (const std::bad_alloc&) {
    return Status(Code::transport, "init(): no memory");
  } catch (const std::system_error& error) {
    return Status(Code::transport,
                  fmt::format("init(): the system gives no thread: {}", error.what()));
  } catch (const std::exception& error) {
    return Status(Code::transport, fmt::format("init(): {}", error.what()));
  }
}

Current start(const InitOptions& options) {
  // A rank that fails tells the others, which would otherwise wait for it forever: nothing is
  // thrown before all ranks have reached the same point.
  Config config = options.config;
  const Status configured = guarded([&] {
    Result<Config> read = config_from_environment(options.config);
    if (!read.ok()) return read.status();
    config = std::move(*read);
    return Status();
  });
  set_log_level(config.log_level);
  Result<World> world = open_world(options.mpi_communicator, config, configured);
  throw_if_error(world.status());
  Current current;
  const Status prepared = guarded([&] {
    const Status preferred = prefer_backend(world->backends, config.backend);
    return preferred.ok() ? prepare(current, *world, config) : preferred;
  });
  throw_if_error(world->agree(prepared));
  current.world = std::move(world->keep_alive);
  set_log_prefix(fmt::format("[rank {}]", world->topology.rank));
  log_world(*world, config);
  if (!current.alone.ok()) log(LogLevel::error, current.alone.message());
  if (!world->alone.warning.empty()) log(LogLevel::warning, world->alone.warning);
  warn_of_unknown_variables();
  current.runtime->start();
  return current;
}

Traffic traffic_before() {
  Holder& held = holder();
  const std::lock_guard lock(held.mutex);
  return held.current.traffic_before;
}

[[noreturn]] void throw_not_initialized(std::string_view what) {
  throw Error(
      Status(Code::not_initialized, fmt::format("{}: call ringleader::init() first", what)));
}

}  // namespace

void init(const InitOptions& options) {
  Holder& held = holder();
  if (runtime::in_forked_child()) {
    throw Error(
        Status(Code::not_initialized,
               "init(): this process was made by fork() and is no rank; only its parent can "
               "use the library"));
  }
  // Not under the mutex of `current`: log messages go to the program meanwhile, and its sink may
  // call functions that take that mutex.
  const std::lock_guard changing(held.changing);
  if (is_initialized()) return;
  Current current = start(options);
  {
    const std::lock_guard lock(held.mutex);
    held.current = std::move(current);
  }
  if (!std::exchange(held.exit_hook, true)) std::atexit(shutdown);
}

void shutdown() noexcept {
  if (runtime::in_forked_child()) return;  // the parent goes on
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

const char* version() { return RINGLEADER_VERSION_STRING; }

std::unique_lock<std::mutex> lock_mpi() { return current_runtime("lock_mpi()")->pause(); }

bool is_initialized() {
  Holder& held = holder();
  const std::lock_guard lock(held.mutex);
  return held.current.runtime != nullptr;
}

namespace {

/// `what` returns what needs the runtime, for the error; it is called only if there is an error.
template <typename What>
std::shared_ptr<runtime::Runtime> running(const What& what) {
  Holder& held = holder();
  const std::lock_guard lock(held.mutex);
  if (held.current.runtime == nullptr) throw_not_initialized(what());
  if (!held.current.alone.ok()) {
    throw Error(Status(held.current.alone.code(),
                       fmt::format("{}: {}", what(), held.current.alone.message())));
  }
  return held.current.runtime;
}

}  // namespace

std::shared_ptr<runtime::Runtime> current_runtime(std::string_view what) {
  return running([&] { return what; });
}

std::shared_ptr<runtime::Runtime> current_runtime(const Operation& operation) {
  return running([&] { return runtime::describe(operation); });
}

Topology current_topology(std::string_view what) {
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
  operation->request = std::move(request);
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
