// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/runtime/runtime.h>

#include <ringleader/core/log.h>
#include <ringleader/core/runtime/blocked_signals.h>
#include <ringleader/core/runtime/short_slice.h>
#include <ringleader/core/runtime/ticks.h>

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <utility>

namespace ringleader::runtime {
namespace {

using std::chrono::microseconds;

/// While a waiter drives, the background thread checks this often whether the waiter has left with
/// nothing pending. A waiter that leaves something pending wakes the background thread.
constexpr microseconds kBackgroundRest{20000};

constexpr microseconds kForever = std::chrono::hours(1);

/// A waiter that does not drive checks this often whether the driver has left.
constexpr microseconds kFollowerRest{200};

/// shutdown() gives up on the other ranks when nothing at all has happened for this long. Their
/// background threads answer in milliseconds; the rest is for a large batch still in flight.
constexpr std::chrono::seconds kShutdownTimeout{60};

/// After a failure, what is in flight ends in milliseconds if the transport can end it at all.
constexpr std::chrono::seconds kFailedShutdownTimeout{1};

/// How long a thread that may not make progress waits for the one that may: until it warns, and
/// until it gives up.
constexpr std::chrono::seconds kNoProgressWarning{1};
constexpr std::chrono::seconds kNoProgressTimeout{10};

std::atomic<bool> forked{false};

/// Notes in a child that it was forked: the threads and the rank are the parent's.
void note_forks() {
  static const int registered = ::pthread_atfork(nullptr, nullptr, [] { forked = true; });
  static_cast<void>(registered);
}

[[noreturn]] void throw_forked(const Operation* operation) {
  throw Error(Status(
      Code::not_initialized,
      (operation == nullptr ? std::string("waiting") : describe(*operation)) +
          ": this process was made by fork() and is no rank; only its parent can use the library"));
}

}  // namespace

std::string describe(const Operation& operation) {
  const auto* const request = std::get_if<protocol::Request>(&operation.request);
  const std::string what = request == nullptr ? "a gradient" : protocol::describe(*request);
  const std::string site = to_string(operation.where);
  return site.empty() ? what : what + " (" + site + ")";
}

Runtime::Runtime(RuntimeOptions options, std::unique_ptr<ControlPlane> control_plane,
                 std::vector<std::unique_ptr<Backend>> backends)
    : options_(std::move(options)),
      control_plane_(std::move(control_plane)),
      executor_(
          std::move(backends), options_.node.rank, options_.memory, options_.concurrent,
          [this](const Operation& operation) {
            // A batch that waited is launched when another has finished.
            flight_.launched(operation, launched_at_ == 0 ? ticks() : launched_at_);
          },
          [this](Operation& operation, const std::shared_ptr<DeviceEvent>& event) {
            ended(operation, event);
          }),
      node_(options_.node),
      flight_(options_.node.rank, options_.node.size) {
  woken_by_arrivals_ = options_.node.size == 1 || control_plane_->set_waker([this] {
    const std::lock_guard lock(mailbox_mutex_);
    mail_ = true;
    wake_.notify_one();
  });
  options_.background_thread = options_.background_thread && options_.any_thread;
  note_forks();
  if (!options_.background_thread) return;
  const BlockedSignals blocked;  // inherited by the thread
  thread_ = std::thread([this] {
    {
      std::unique_lock lock(mailbox_mutex_);
      wake_.wait(lock, [this] { return started_ || stop_; });
      if (stop_) return;
    }
    if (options_.memory.device != nullptr) options_.memory.device->adopt_thread();
    background();
  });
}

void Runtime::start() {
  const std::lock_guard lock(mailbox_mutex_);
  started_ = true;
  wake_.notify_all();
}

bool in_forked_child() { return forked; }

Runtime::~Runtime() {
  {
    const std::lock_guard lock(mailbox_mutex_);
    stop_ = true;
    wake_.notify_all();
  }
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();  // a completion callback shuts the library down, or exits
  } else if (thread_.joinable()) {
    thread_.join();
  }
  control_plane_->set_waker(nullptr);
}

void Runtime::post(const std::shared_ptr<Operation>& operation, Wake wake) {
  operation->runtime = weak_from_this();
  operation->token = protocol::kNoToken;
  if (forked) throw_forked(operation.get());
  participants_.note();
  if (!operation->streams.empty()) {
    wait_for_same_name(operation);
    if (Status status = note_streams(*operation); !status.ok()) {
      operation->status = std::move(status);
      operation->done = true;
      return;
    }
  }
  if (wake == Wake::no && may_drive()) {
    // The caller is about to wait: skip the mailbox if nobody else does the rounds.
    const std::unique_lock loop(loop_mutex_, std::try_to_lock);
    if (loop && !closed_) {
      drain_mailbox();
      submit(operation);
      node_needs_round_ = pending_ = true;
      return;
    }
  }
  const std::lock_guard lock(mailbox_mutex_);
  if (closed_) {
    operation->status =
        Status(Code::shutdown, describe(*operation) + ": the library has been shut down");
    operation->done = true;
    return;
  }
  mailbox_.push_back(operation);
  mailbox_filled_ = true;
  if (wake == Wake::no) return;
  mail_ = true;
  if (drivers_ == 0) wake_.notify_one();
}

void Runtime::run(const std::shared_ptr<Operation>& operation) {
  post(operation, Wake::no);
  wait(*operation);
}

void Runtime::wait(const Operation& operation) {
  if (operation.done) return;
  drive(&operation, [&operation] { return operation.done.load(); });
}

Status Runtime::wait(const Operation& operation, void* stream) {
  if (operation.streams.empty()) {
    wait(operation);
    return operation.status;
  }
  if (!operation.enqueued && !operation.done) {
    drive(&operation, [&operation] { return operation.enqueued || operation.done; });
  }
  if (operation.done) return operation.status;  // the host has seen its end
  for (const auto& event : operation.ended) {
    if (Status status = options_.memory.device->wait(stream, *event); !status.ok()) return status;
  }
  return Status();
}

/// After wait(stream) a program may reuse a name before its operation has ended.
void Runtime::wait_for_same_name(const std::shared_ptr<Operation>& operation) {
  const auto* const request = std::get_if<protocol::Request>(&operation->request);
  if (request == nullptr) return;
  std::shared_ptr<Operation> before;
  {
    const std::lock_guard lock(mailbox_mutex_);
    constexpr std::size_t kManyNames = 256;
    if (on_device_.size() >= kManyNames) {
      std::erase_if(on_device_, [](const auto& item) { return item.second.expired(); });
    }
    auto& latest = on_device_[{request->process_set, request->name}];
    before = latest.lock();
    latest = operation;
  }
  if (before != nullptr && before->enqueued && !before->done) wait(*before);
}

/// The operation comes after what the user has enqueued in the streams so far.
Status Runtime::note_streams(Operation& operation) {
  operation.ready.clear();
  operation.ended.clear();
  operation.enqueued = false;
  if (options_.memory.device == nullptr) return Status();  // all ranks will find this alike
  for (void* const stream : operation.streams) {
    auto event = options_.memory.device->record(stream);
    if (!event.ok()) return event.status();
    operation.ready.push_back(std::move(*event));
  }
  return Status();
}

/// Measures how long nobody has done a round.
class Runtime::Standstill {
 public:
  explicit Standstill(const std::atomic<std::uint64_t>& rounds) : rounds_(rounds) {}

  std::chrono::steady_clock::duration duration() {
    const auto now = std::chrono::steady_clock::now();
    if (rounds_.load() != std::exchange(seen_, rounds_.load())) since_ = now;
    return now - since_;
  }
  bool warned = false;

 private:
  const std::atomic<std::uint64_t>& rounds_;
  std::uint64_t seen_ = 0;
  std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
};

/// While it exists, the calling thread makes progress; afterwards the background thread does again.
class Runtime::Driving {
 public:
  explicit Driving(Runtime& runtime) : runtime_(runtime) { ++runtime_.drivers_; }
  ~Driving() {
    if (--runtime_.drivers_ > 0 || !runtime_.options_.background_thread) return;
    if (!runtime_.pending_ && !runtime_.mailbox_filled_) return;
    const std::lock_guard lock(runtime_.mailbox_mutex_);
    runtime_.mail_ = true;
    runtime_.wake_.notify_one();
  }
  Driving(const Driving&) = delete;
  Driving& operator=(const Driving&) = delete;

 private:
  Runtime& runtime_;
};

/// This thread may not make progress, and the one that may, for which it waits, does not come.
void Runtime::look_for_standstill(const Operation& operation, Standstill& standstill) {
  const auto duration = standstill.duration();
  if (duration < kNoProgressWarning) return;
  const std::string text =
      describe(operation) +
      ": only the thread that has called init() may make progress, because MPI was initialized "
      "without MPI_THREAD_SERIALIZED, and it does not use the library; wait there, or initialize "
      "MPI with MPI_THREAD_MULTIPLE";
  if (!std::exchange(standstill.warned, true)) log(LogLevel::warning, text);
  if (duration < kNoProgressTimeout) return;
  const std::lock_guard lock(mailbox_mutex_);
  const auto found = std::find_if(mailbox_.begin(), mailbox_.end(),
                                  [&](const auto& each) { return each.get() == &operation; });
  if (found == mailbox_.end()) return;  // on its way, and cannot be taken back
  const std::shared_ptr<Operation> taken_back = *found;
  mailbox_.erase(found);
  taken_back->status = Status(Code::stalled, text);
  taken_back->done = true;
  take_callbacks(taken_back);
}

/// Does rounds until `finished`, or sleeps while another waiter does them.
void Runtime::drive(const Operation* operation, const std::function<bool()>& finished) {
  if (forked) throw_forked(operation);
  const Participants::Waiting waiting(participants_, {operation, &finished});
  const Driving driving(*this);
  Backoff backoff;
  const bool drives = may_drive();
  std::optional<Standstill> standstill;
  while (!finished()) {
    std::unique_lock loop(loop_mutex_, std::defer_lock);
    if (drives) (void)loop.try_lock();
    if (!loop) {
      // The thread that holds the loop notifies when something completes; it may also have left.
      std::unique_lock lock(mailbox_mutex_);
      ++sleepers_;
      completed_.wait_for(lock, kFollowerRest, finished);
      --sleepers_;
      lock.unlock();
      if (drives || operation == nullptr) continue;
      if (!standstill) standstill.emplace(rounds_);
      look_for_standstill(*operation, *standstill);
      continue;
    }
    const bool progress = iterate();
    loop.unlock();
    static_cast<void>(run_callbacks());
    if (progress) {
      backoff.reset();
    } else if (!finished()) {
      backoff.pause(options_.oversubscribed);
    }
  }
}

void Runtime::poll() {
  if (options_.background_thread || forked) return;
  if (!may_drive()) return;
  {
    const std::unique_lock loop(loop_mutex_, std::try_to_lock);
    if (!loop || closed_) return;
    iterate();
  }
  static_cast<void>(run_callbacks());
}

void Runtime::background() {
  participants_.note_own_thread();
  ask_for_short_slices();
  Backoff backoff;
  for (;;) {
    microseconds rest = kBackgroundRest;  // while a waiter drives
    if (drivers_ == 0) {
      {
        const std::lock_guard loop(loop_mutex_);
        if (iterate()) backoff.reset();
        const bool idle = operations_.empty() && executor_.idle() && control_plane_->sent_all() &&
                          !node_.wants_tick();
        rest = idle && woken_by_arrivals_ ? kForever : backoff.rest(!idle);
      }
      // A callback may have shut the library down. Then this is the last owner, and the thread
      // ends.
      const std::shared_ptr<Runtime> self = run_callbacks();
      if (self != nullptr && self.use_count() == 1) return;
    }
    if (rest.count() == 0) continue;
    std::unique_lock lock(mailbox_mutex_);
    if (wake_.wait_for(lock, rest, [this] { return mail_ || stop_; })) backoff.reset();
    mail_ = false;
    if (stop_) return;
  }
}

void Runtime::when_done(const std::shared_ptr<Operation>& operation,
                        std::function<void(const Status&)> callback) {
  {
    const std::lock_guard lock(mailbox_mutex_);
    operation->callbacks.push_back(std::move(callback));
    operation->awaited = true;
    if (!operation->done) return;
    if (operation->callbacks.empty()) return;  // taken by the thread that completed it
    callback = std::move(operation->callbacks.back());
    operation->callbacks.pop_back();
  }
  callback(operation->status);
}

void Runtime::shutdown() {
  if (forked) return;
  {
    const std::lock_guard loop(loop_mutex_);
    if (shutdown_requested_) return;
    shutdown_requested_ = true;
    node_.request_shutdown();
    node_needs_round_ = true;
    ++productive_rounds_;
  }
  std::uint64_t rounds = 0;
  const auto begin = std::chrono::steady_clock::now();
  auto deadline = begin;
  drive(nullptr, [&] {
    const auto now = std::chrono::steady_clock::now();
    const std::uint64_t productive = productive_rounds_;
    if (productive != std::exchange(rounds, productive)) deadline = now + kShutdownTimeout;
    // Ranks without a background thread answer when their programs next wait.
    if (failed_) deadline = std::min(deadline, begin + kFailedShutdownTimeout);
    return drained_ || ((options_.background_thread || failed_) && now > deadline);
  });
  {
    const std::lock_guard loop(loop_mutex_);
    if (!drained_) fail(Status(Code::rank_lost, "other ranks did not answer a shutdown"));
    {
      const std::lock_guard lock(mailbox_mutex_);
      closed_ = true;
    }
    iterate();  // what was posted meanwhile is refused
  }
  static_cast<void>(run_callbacks());
}

std::vector<int> Runtime::process_set_ranks(std::uint32_t process_set) {
  const std::lock_guard loop(loop_mutex_);
  return node_.catalog().ranks_of(process_set);
}

std::uint64_t Runtime::joins_done(std::uint32_t process_set) {
  const std::lock_guard lock(mailbox_mutex_);
  const auto found = joins_done_.find(process_set);
  return found == joins_done_.end() ? 0 : found->second;
}

RuntimeCounters Runtime::counters() {
  const std::lock_guard loop(loop_mutex_);
  counters_.batches = executor_.batches();
  counters_.tensors = executor_.tensors();
  return counters_;
}

bool Runtime::failed() {
  const std::lock_guard loop(loop_mutex_);
  return node_.failed();
}

}  // namespace ringleader::runtime
