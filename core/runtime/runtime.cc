// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/runtime/runtime.h>

#include <ringleader/core/log.h>
#include <ringleader/core/runtime/short_slice.h>
#include <ringleader/core/runtime/ticks.h>

#include <chrono>
#include <functional>
#include <utility>

namespace ringleader::runtime {
namespace {

using std::chrono::microseconds;

/// While a waiter drives, the background thread looks this often whether it has left with nothing
/// pending; with something pending it wakes this thread.
constexpr microseconds kBackgroundRest{20000};

constexpr microseconds kForever = std::chrono::hours(1);

/// A waiter that does not drive looks this often whether the driver has left.
constexpr microseconds kFollowerRest{200};

/// shutdown() gives the other ranks up when nothing at all has happened for so long. Their
/// background threads answer in milliseconds; the rest is for a large batch still in flight.
constexpr std::chrono::seconds kShutdownTimeout{60};

/// "allreduce 'loss' (train.cc:42)"
std::string describe(const Operation& operation) {
  const auto* const request = std::get_if<protocol::Request>(&operation.wish);
  const std::string what = request == nullptr ? "a gradient" : protocol::describe(*request);
  const std::string site = to_string(operation.where);
  return site.empty() ? what : what + " (" + site + ")";
}

}  // namespace

Runtime::Runtime(RuntimeOptions options, std::unique_ptr<ControlPlane> control_plane,
                 std::vector<std::unique_ptr<Backend>> backends)
    : options_(std::move(options)),
      control_plane_(std::move(control_plane)),
      executor_(
          std::move(backends), options_.node.rank, options_.memory,
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
  if (options_.background_thread)
    thread_ = std::thread([this] {
      if (options_.memory.device != nullptr) options_.memory.device->adopt_thread();
      background();
    });
}

Runtime::~Runtime() {
  {
    const std::lock_guard lock(mailbox_mutex_);
    stop_ = true;
    wake_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
  control_plane_->set_waker(nullptr);
}

void Runtime::post(const std::shared_ptr<Operation>& operation, Wake wake) {
  operation->runtime = weak_from_this();
  operation->token = protocol::kNoToken;
  participants_.note();
  if (!operation->streams.empty()) {
    wait_for_namesake(operation);
    if (Status status = note_streams(*operation); !status.ok()) {
      operation->status = std::move(status);
      operation->done = true;
      return;
    }
  }
  if (wake == Wake::no) {
    // The caller is about to wait: without the detour if nobody else does the rounds.
    const std::unique_lock loop(loop_mutex_, std::try_to_lock);
    if (loop && !closed_) {
      drain_mailbox();
      submit(operation);
      node_stirred_ = pending_ = true;
      return;
    }
  }
  const std::lock_guard lock(mailbox_mutex_);
  if (closed_) {
    operation->status = Status(Code::shutdown, describe(*operation) + ": the library has been shut down");
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

/// After wait(stream) a program uses a name again, though the operation may not have ended yet.
void Runtime::wait_for_namesake(const std::shared_ptr<Operation>& operation) {
  const auto* const request = std::get_if<protocol::Request>(&operation->wish);
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

/// What the user has put into the streams so far comes before the operation.
Status Runtime::note_streams(Operation& operation) {
  operation.ready.clear();
  operation.ended.clear();
  operation.enqueued = false;
  if (options_.memory.device == nullptr) return Status();  // all ranks will find that alike
  for (void* const stream : operation.streams) {
    auto event = options_.memory.device->record(stream);
    if (!event.ok()) return event.status();
    operation.ready.push_back(std::move(*event));
  }
  return Status();
}

/// Does rounds until `finished`, or sleeps while another waiter does them.
void Runtime::drive(const Operation* operation, const std::function<bool()>& finished) {
  const Participants::Waiting waiting(participants_, {operation, &finished});
  ++drivers_;
  Backoff backoff;
  const bool may_drive = options_.any_thread || std::this_thread::get_id() == owner_;
  while (!finished()) {
    std::unique_lock loop(loop_mutex_, std::defer_lock);
    if (may_drive) (void)loop.try_lock();
    if (!loop) {
      // The one who holds the loop notifies when something completes; it may also have left.
      std::unique_lock lock(mailbox_mutex_);
      ++sleepers_;
      completed_.wait_for(lock, kFollowerRest, finished);
      --sleepers_;
      continue;
    }
    const bool progress = iterate();
    loop.unlock();
    run_callbacks();
    if (progress) {
      backoff.reset();
    } else if (!finished()) {
      backoff.pause(options_.oversubscribed);
    }
  }
  if (--drivers_ == 0 && options_.background_thread) {
    if (!pending_ && !mailbox_filled_) return;
    const std::lock_guard lock(mailbox_mutex_);
    mail_ = true;
    wake_.notify_one();
  }
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
      run_callbacks();
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
  {
    const std::lock_guard loop(loop_mutex_);
    if (shutdown_requested_) return;
    shutdown_requested_ = true;
    node_.request_shutdown();
    node_stirred_ = true;
    ++productive_rounds_;
  }
  std::uint64_t rounds = 0;
  auto deadline = std::chrono::steady_clock::now();
  drive(nullptr, [&] {
    const auto now = std::chrono::steady_clock::now();
    const std::uint64_t productive = productive_rounds_;
    if (productive != std::exchange(rounds, productive)) deadline = now + kShutdownTimeout;
    // Ranks without a background thread answer when their programs next wait.
    return drained_ || (options_.background_thread && now > deadline);
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
  run_callbacks();
}

std::vector<int> Runtime::process_set_ranks(std::uint32_t process_set) {
  const std::lock_guard loop(loop_mutex_);
  return node_.catalog().ranks_of(process_set);
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
