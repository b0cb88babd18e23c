// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/runtime/runtime.h>

#include <ringleader/core/log.h>

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

}  // namespace

Runtime::Runtime(RuntimeOptions options, std::unique_ptr<ControlPlane> control_plane,
                 std::vector<std::unique_ptr<Backend>> backends)
    : options_(std::move(options)),
      control_plane_(std::move(control_plane)),
      executor_(std::move(backends), options_.node.rank, options_.fill_neutral),
      node_(options_.node) {
  woken_by_arrivals_ = options_.node.size == 1 || control_plane_->set_waker([this] {
    const std::lock_guard lock(mailbox_mutex_);
    mail_ = true;
    wake_.notify_one();
  });
  options_.background_thread = options_.background_thread && options_.any_thread;
  if (options_.background_thread) thread_ = std::thread([this] { background(); });
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
  const std::lock_guard lock(mailbox_mutex_);
  if (closed_) {
    operation->status = Status(Code::shutdown, "the library has been shut down");
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
  drive([&operation] { return operation.done.load(); });
}

/// Does rounds until `finished`, or sleeps while another waiter does them.
void Runtime::drive(const std::function<bool()>& finished) {
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
    if (progress) {
      backoff.reset();
    } else if (!finished()) {
      backoff.pause(options_.oversubscribed);
    }
  }
  if (--drivers_ == 0 && options_.background_thread) {
    bool pending;
    {
      const std::lock_guard loop(loop_mutex_);
      pending = !operations_.empty() || !executor_.idle() || !control_plane_->sent_all();
    }
    if (!pending && !mailbox_filled_) return;
    const std::lock_guard lock(mailbox_mutex_);
    mail_ = true;
    wake_.notify_one();
  }
}

void Runtime::background() {
  Backoff backoff;
  for (;;) {
    microseconds rest = kBackgroundRest;  // while a waiter drives
    if (drivers_ == 0) {
      const std::lock_guard loop(loop_mutex_);
      if (iterate()) backoff.reset();
      const bool idle = operations_.empty() && executor_.idle() && control_plane_->sent_all();
      rest = idle && woken_by_arrivals_ ? kForever : backoff.rest(!idle);
    }
    if (rest.count() == 0) continue;
    std::unique_lock lock(mailbox_mutex_);
    if (wake_.wait_for(lock, rest, [this] { return mail_ || stop_; })) backoff.reset();
    mail_ = false;
    if (stop_) return;
  }
}

bool Runtime::iterate() {
  bool progress = drain_mailbox();
  progress |= receive_messages();
  pump();
  if (poll_batches()) {
    progress = true;
    pump();
  }
  if (progress) ++productive_rounds_;
  if (node_.stopped()) {
    drained_ =
        node_.drained() && operations_.empty() && executor_.idle() && control_plane_->sent_all();
  }
  return progress;
}

bool Runtime::drain_mailbox() {
  if (!mailbox_filled_) return false;
  std::vector<std::shared_ptr<Operation>> mail;
  {
    const std::lock_guard lock(mailbox_mutex_);
    mail.swap(mailbox_);
    mailbox_filled_ = false;
  }
  for (const auto& operation : mail) {
    const protocol::Token token = next_token_++;
    operations_.emplace(token, operation);
    Status status;
    if (const auto* parameter = std::get_if<PlanParameterRequest>(&operation->wish)) {
      status = node_.submit_parameter(token, parameter->plan, parameter->index);
    } else {
      status = node_.submit(token, std::get<protocol::Request>(operation->wish));
    }
    if (status.ok()) continue;
    protocol::Completion refused{token, std::move(status), 0};
    act(refused);
  }
  return !mail.empty();
}

bool Runtime::receive_messages() {
  received_.clear();
  if (const Status status = control_plane_->poll(received_); !status.ok()) fail(status);
  for (const ReceivedMessage& message : received_) {
    if (const Status status = node_.receive(message.from, message.bytes); !status.ok()) {
      log(LogLevel::error, status.message());
    }
  }
  return !received_.empty();
}

bool Runtime::poll_batches() {
  if (executor_.idle()) return false;
  const std::vector<FinishedBatch> finished = executor_.poll();
  for (const FinishedBatch& batch : finished) {
    node_.finished(batch.launch_id, batch.status);
    if (!batch.status.ok()) fail(batch.status);
  }
  return !finished.empty();
}

/// Does what the node wants until it wants nothing more.
void Runtime::pump() {
  for (;;) {
    std::vector<protocol::Action> actions = node_.take_actions();
    for (protocol::OutgoingMessage& message : node_.take_messages()) {
      ++counters_.control_messages;
      counters_.control_bytes += message.bytes.size();
      const Status status = control_plane_->send(message.to, std::move(message.bytes));
      if (!status.ok()) fail(status);
    }
    if (actions.empty()) return;
    for (protocol::Action& action : actions) {
      std::visit([this](auto& a) { act(a); }, action);
    }
  }
}

void Runtime::act(protocol::Launch& launch) {
  std::vector<std::shared_ptr<Operation>> operations;
  for (const protocol::LaunchItem& item : launch.items) {
    const auto found = operations_.find(item.token);
    operations.push_back(found == operations_.end() ? nullptr : found->second);
  }
  const Status status =
      executor_.launch(launch, node_.catalog().ranks_of(launch.process_set), std::move(operations));
  if (!status.ok()) fail(status);
}

void Runtime::act(protocol::Completion& completion) {
  const auto found = operations_.find(completion.token);
  if (found == operations_.end()) return;
  const std::shared_ptr<Operation> operation = std::move(found->second);
  operations_.erase(found);
  operation->status = std::move(completion.status);
  operation->value = completion.value;
  operation->done = true;
  if (sleepers_ == 0) return;
  const std::lock_guard lock(mailbox_mutex_);
  completed_.notify_all();
}

void Runtime::act(protocol::ChannelClosed& closed) { executor_.close_channel(closed.channel); }

void Runtime::fail(const Status& status) {
  if (node_.stopped() && node_.stop_reason().code() == Code::rank_lost) return;
  log(LogLevel::error, status.message());
  node_.lost(status);
}

void Runtime::shutdown() {
  {
    const std::lock_guard loop(loop_mutex_);
    if (shutdown_requested_) return;
    shutdown_requested_ = true;
    node_.request_shutdown();
    ++productive_rounds_;
  }
  std::uint64_t rounds = 0;
  auto deadline = std::chrono::steady_clock::now();
  drive([&] {
    const auto now = std::chrono::steady_clock::now();
    const std::uint64_t productive = productive_rounds_;
    if (productive != std::exchange(rounds, productive)) deadline = now + kShutdownTimeout;
    // Ranks without a background thread answer when their programs next wait.
    return drained_ || (options_.background_thread && now > deadline);
  });
  const std::lock_guard loop(loop_mutex_);
  if (!drained_) fail(Status(Code::rank_lost, "other ranks did not answer a shutdown"));
  {
    const std::lock_guard lock(mailbox_mutex_);
    closed_ = true;
  }
  iterate();  // what was posted meanwhile is refused
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
  return node_.stopped() && node_.stop_reason().code() == Code::rank_lost;
}

}  // namespace ringleader::runtime
