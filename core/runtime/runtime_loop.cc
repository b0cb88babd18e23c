// SPDX-License-Identifier: Apache-2.0
//
// One round of the loop: it takes input in and carries out what the node wants.
#include <ringleader/core/log.h>
#include <ringleader/core/runtime/runtime.h>
#include <ringleader/core/runtime/ticks.h>

#include <fmt/core.h>

#include <chrono>
#include <exception>
#include <utility>

namespace ringleader::runtime {
namespace {

/// Rounds between two clock reads. A round takes from 0.2 us, spinning, to 1 ms.
constexpr std::uint64_t kRoundsPerTick = 64;

/// What the threads wait for, if one of them may go on.
const std::vector<protocol::Token> kNobody;

/// Messages are checked at least every this many rounds, even while there is other work.
constexpr std::uint64_t kRoundsPerLook = 8;

}  // namespace

/// If memory runs out here, operations are left half done, so all end with an error.
bool Runtime::iterate() {
  try {
    return do_round();
  } catch (const std::exception& error) {
    fail(Status(Code::transport, fmt::format("the runtime of this rank: {}", error.what())));
    return true;
  }
}

bool Runtime::do_round() {
  const std::uint64_t work_before = executor_.work_done();
  rounds_.store(rounds_ + 1, std::memory_order_relaxed);  // for waiters that only look
  bool progress = drain_mailbox();
  progress |= std::exchange(node_needs_round_, false);
  if (progress) pump();
  if (poll_batches()) {
    progress = true;
    pump();
  }
  progress |= executor_.work_done() != work_before;
  // Checking for messages costs as much as a small collective. So it waits, though not for long,
  // while there is other work or a batch may end at any moment.
  rounds_in_vain_ = progress ? 0 : rounds_in_vain_ + 1;
  const bool may_wait = progress || (!executor_.idle() && rounds_in_vain_ < kRoundsPerLook);
  if (!may_wait || rounds_ % kRoundsPerLook == 0) {
    if (receive_messages()) {
      progress = true;
      pump();
    }
  }
  if (node_.wants_tick() || (!progress && rounds_ % kRoundsPerTick == 0)) tick();
  if (progress) ++productive_rounds_;
  if (node_.failed() && !std::exchange(failure_told_, true)) {
    failed_ = true;
    if (options_.on_failure) options_.on_failure(node_.stop_reason());
    executor_.abandon();
  }
  pending_ = !operations_.empty() || !executor_.idle() || !control_plane_->sent_all();
  if (node_.stopped()) {
    drained_ =
        node_.drained() && operations_.empty() && executor_.idle() && control_plane_->sent_all();
  }
  return progress;
}

bool Runtime::drain_mailbox() {
  if (!mailbox_filled_) return false;
  {
    const std::lock_guard lock(mailbox_mutex_);
    taken_.swap(mailbox_);
    mailbox_filled_ = false;
  }
  for (const auto& operation : taken_) submit(operation);
  const bool any = !taken_.empty();
  taken_.clear();  // keeps its memory for the next swap
  return any;
}

void Runtime::submit(const std::shared_ptr<Operation>& operation) {
  const protocol::Token token = operations_.push(operation);
  operation->token = token;
  Status status;
  if (const auto* parameter = std::get_if<PlanParameterRequest>(&operation->request)) {
    const protocol::PlanInfo* plan = node_.catalog().plan(parameter->plan);
    flight_.submitted(*operation, plan == nullptr ? nullptr : plan->request.get(),
                      node_.step_of(parameter->plan), ticks());
    status = node_.submit_parameter(token, parameter->plan, parameter->index, operation->where);
  } else {
    flight_.submitted(*operation, nullptr, -1, ticks());
    auto& request = std::get<protocol::Request>(operation->request);
    operation->negotiation = TraceRange("negotiate", request.name);
    request.where = operation->where;
    status = node_.submit(token, request);
  }
  if (status.ok()) return;
  protocol::Completion refused{token, std::move(status), 0};
  act(refused);
}

void Runtime::tick() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  const std::vector<protocol::Token>& awaited = participants_.awaited();
  // A thread that waits has posted before, so what it posted is visible now.
  const bool some_go_on = mailbox_filled_ || callbacks_due_;
  node_.tick(std::chrono::duration_cast<std::chrono::microseconds>(now).count(),
             some_go_on ? kNobody : awaited);
  pump();
}

bool Runtime::receive_messages() {
  received_.clear();
  if (const Status status = control_plane_->poll(received_); !status.ok()) fail(status);
  for (const ReceivedMessage& message : received_) {
    if (const Status status = node_.receive(message.from, message.bytes); !status.ok()) {
      say(LogLevel::error, status.message());
    }
  }
  return !received_.empty();
}

bool Runtime::poll_batches() {
  if (executor_.idle()) return false;
  const std::vector<FinishedBatch>& finished = executor_.poll();
  for (const FinishedBatch& batch : finished) {
    node_.finished(batch.launch_id, batch.status);
    if (!batch.status.ok() && batch.fatal) fail(batch.status);
  }
  return !finished.empty();
}

/// Carries out what the node wants until it wants nothing more.
void Runtime::pump() {
  do {
    node_needs_round_ = false;
    actions_ = node_.take_actions(std::move(actions_));
    for (protocol::OutgoingMessage& message : node_.take_messages()) {
      ++counters_.control_messages;
      counters_.control_bytes += message.bytes->size();
      const Status status = control_plane_->send(message.to, std::move(message.bytes));
      if (!status.ok()) fail(status);
    }
    for (protocol::Action& action : actions_) {
      std::visit([this](auto& a) { act(a); }, action);
    }
  } while (node_needs_round_);
}

void Runtime::act(protocol::Launch& launch) {
  launched_.clear();
  launched_at_ = ticks();
  for (const protocol::LaunchItem& item : launch.items) {
    const auto* const found = operations_.find(item.token);
    launched_.push_back(found == nullptr ? nullptr : *found);
    if (found == nullptr) continue;
    flight_.decided(**found, launched_at_);
    (*found)->negotiation.end();
  }
  if (!executor_.knows(launch.channel)) {
    executor_.open_channel(launch.channel, node_.catalog().ranks_of(launch.process_set));
  }
  const Status status = executor_.launch(launch, launched_);
  launched_at_ = 0;
  if (status.code() == Code::unsupported) {
    node_.finished(launch.id, status);  // all ranks find this, for the same reasons
    node_needs_round_ = true;
  } else if (!status.ok()) {
    fail(status);
  }
}

void Runtime::act(protocol::Completion& completion) {
  auto* const found = operations_.find(completion.token);
  if (found == nullptr) return;
  const std::shared_ptr<Operation> operation = std::move(*found);
  operations_.erase(completion.token);
  operation->status = std::move(completion.status);
  operation->negotiation.end();
  operation->value = completion.value;
  flight_.completed(*operation, ticks());
  const auto* const request = std::get_if<protocol::Request>(&operation->request);
  if (request != nullptr && request->kind == protocol::RequestKind::join &&
      operation->status.ok()) {
    const std::lock_guard lock(mailbox_mutex_);
    ++joins_done_[request->process_set];
    ++joins_;
  }
  operation->done = true;
  if (operation->awaited) {
    const std::lock_guard lock(mailbox_mutex_);
    take_callbacks(operation);
  }
  wake_sleepers();
}

/// The operation has ended: what waits for it is due. With mailbox_mutex_ held.
void Runtime::take_callbacks(const std::shared_ptr<Operation>& operation) {
  for (auto& callback : operation->callbacks) {
    callbacks_.push_back(
        [operation, callback = std::move(callback)] { callback(operation->status); });
  }
  operation->callbacks.clear();
  callbacks_due_ = true;
}

void Runtime::ended(Operation& operation, const std::shared_ptr<DeviceEvent>& event) {
  operation.ended.push_back(event);
  if (operation.ended.size() < operation.buffers.size()) return;  // a group in several batches
  operation.enqueued = true;
  wake_sleepers();
}

/// Wakes the threads that wait for an operation and do not drive.
void Runtime::wake_sleepers() {
  if (sleepers_ == 0) return;
  const std::lock_guard lock(mailbox_mutex_);
  completed_.notify_all();
}

/// Returns an owner of this if there was anything to call: a callback may have released all others.
std::shared_ptr<Runtime> Runtime::run_callbacks() {
  if (!callbacks_due_) return nullptr;
  std::shared_ptr<Runtime> self = weak_from_this().lock();
  const Participants::Working working(participants_);
  std::vector<std::function<void()>> due;
  {
    const std::lock_guard lock(mailbox_mutex_);
    due.swap(callbacks_);
    callbacks_due_ = false;
  }
  for (const auto& callback : due) callback();
  return self;
}

/// Deferred, because the sink is the program's and may call the library.
void Runtime::say(LogLevel level, std::string text) {
  const std::lock_guard lock(mailbox_mutex_);
  callbacks_.push_back([level, text = std::move(text)] { log(level, text); });
  callbacks_due_ = true;
}

void Runtime::act(protocol::Notice& notice) { say(LogLevel::warning, std::move(notice.text)); }

void Runtime::act(protocol::Reset& reset) {
  if (options_.on_failure) options_.on_failure(reset.reason);
}

void Runtime::act(protocol::ChannelClosed& closed) { executor_.close_channel(closed.channel); }

void Runtime::fail(const Status& status) {
  if (node_.failed()) return;
  say(LogLevel::error, status.message());
  node_.lost(status);
  node_needs_round_ = true;
}

}  // namespace ringleader::runtime
