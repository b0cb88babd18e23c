// SPDX-License-Identifier: Apache-2.0
//
// Runtime: owns the protocol node and the executor and drives them: requests from the mailbox into
// the node, messages to and from the other ranks, decided batches to the backends, outcomes to the
// waiters.
//
//   auto operation = std::make_shared<Operation>(...);
//   runtime->post(operation);
//   runtime->wait(*operation);
//
// Who does the work: one thread at a time does a round (iterate), under `loop_mutex_`. A thread
// that waits for an operation does the rounds itself, which saves two context switches; the
// background thread does them while nobody waits.
#pragma once

#include <ringleader/core/log.h>
#include <ringleader/core/protocol/node.h>
#include <ringleader/core/runtime/backoff.h>
#include <ringleader/core/runtime/control_plane.h>
#include <ringleader/core/runtime/executor.h>
#include <ringleader/core/runtime/flight_recorder.h>
#include <ringleader/core/runtime/operation.h>
#include <ringleader/core/runtime/participants.h>
#include <ringleader/core/window.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace ringleader::runtime {

struct RuntimeOptions {
  protocol::NodeOptions node;
  bool background_thread = true;
  bool any_thread = true;       ///< false: only the constructing thread may use the adapters
  bool concurrent = false;      ///< another thread may use the adapters at the same time
  bool oversubscribed = false;  ///< more ranks on this node than cores: never spin
  Memory memory;
  std::function<void(const Status&)> on_failure;  ///< called if a rank was lost, or all stalled
};

struct RuntimeCounters {
  std::uint64_t control_messages = 0;
  std::uint64_t control_bytes = 0;
  std::uint64_t batches = 0;
  std::uint64_t tensors = 0;
};

/// Threading: any thread may call any public member. If only the constructing thread may use the
/// adapters, there is no background thread, and what other threads wait for makes progress while
/// the constructing thread waits too. Lock order: loop_mutex_, then mailbox_mutex_.
class Runtime : public std::enable_shared_from_this<Runtime> {
 public:
  Runtime(RuntimeOptions options, std::unique_ptr<ControlPlane> control_plane,
          std::vector<std::unique_ptr<Backend>> backends);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  enum class Wake { yes, no };

  /// Hands over an operation and makes sure that the background thread works on it; with Wake::no,
  /// work begins only when some thread waits. Waits for other ranks only if an operation
  /// of the same name in device memory has not ended. Throws in a child made by fork(). An error in
  /// the operation becomes its outcome.
  void post(const std::shared_ptr<Operation>& operation, Wake wake = Wake::yes);

  /// Lets the background thread begin. Until then the runtime does nothing by itself.
  void start();

  /// Blocks until the operation is done, doing the runtime's work meanwhile. Throws Error in a
  /// child made by fork(). Where only another thread may make progress and does not come, an
  /// operation that nobody has taken yet ends with Code::stalled.
  void wait(const Operation& operation);

  /// Without a background thread: does one round, so that a program that repeatedly asks whether an
  /// operation is done makes progress.
  void poll();

  /// Keeps the library from calling MPI while the lock is held.
  [[nodiscard]] std::unique_lock<std::mutex> pause() { return std::unique_lock(loop_mutex_); }

  /// Makes work enqueued in a user's stream from now on wait for the operation's result. Blocks
  /// until the operation is in a stream of the library or, for host memory, done. Errors: those of
  /// the operation that are known so far; those of the device.
  Status wait(const Operation& operation, void* stream);

  /// post() and wait(), without waking the background thread in between.
  void run(const std::shared_ptr<Operation>& operation);

  /// Calls back once the operation is done, at once if it already is. The callback runs on the
  /// thread that completes the operation, with no lock held: it may submit and wait. It must not
  /// throw.
  void when_done(const std::shared_ptr<Operation>& operation,
                 std::function<void(const Status&)> callback);

  /// Tells all ranks to stop, and blocks until everything decided has run and every operation of
  /// this rank is done. Later operations end with Code::shutdown.
  void shutdown();

  /// World ranks of a process set; empty if it does not exist.
  std::vector<int> process_set_ranks(std::uint32_t process_set);

  /// The number of joins of a process set that have ended on this rank.
  std::uint64_t joins_done(std::uint32_t process_set);

  /// The same over all process sets, without a lock: tells whether there is anything new to ask
  /// for.
  std::uint64_t joins_done() const { return joins_; }

  RuntimeCounters counters();

  /// The last operations; written by the thread that drives the runtime.
  const FlightLog& flight_log() const { return flight_.log(); }

  /// True if it ended because a rank or the transport failed.
  bool failed();

 private:
  bool iterate();
  bool do_round();
  bool drain_mailbox();
  bool receive_messages();
  bool poll_batches();
  void pump();
  void act(protocol::Launch& launch);
  void act(protocol::Completion& completion);
  void act(protocol::ChannelClosed& closed);
  void act(protocol::Notice& notice);
  void act(protocol::Reset& reset);
  void submit(const std::shared_ptr<Operation>& operation);
  void tick();
  std::shared_ptr<Runtime> run_callbacks();
  void fail(const Status& status);
  void say(LogLevel level, std::string text);
  class Standstill;
  class Driving;
  void look_for_standstill(const Operation& operation, Standstill& standstill);
  void wake_sleepers();
  void ended(Operation& operation, const std::shared_ptr<DeviceEvent>& event);
  Status note_streams(Operation& operation);
  void wait_for_same_name(const std::shared_ptr<Operation>& operation);
  void take_callbacks(const std::shared_ptr<Operation>& operation);
  void drive(const Operation* operation, const std::function<bool()>& finished);
  void background();
  bool may_drive() const { return options_.any_thread || std::this_thread::get_id() == owner_; }

  RuntimeOptions options_;

  // State of the loop: guarded by loop_mutex_.
  std::mutex loop_mutex_;
  std::unique_ptr<ControlPlane> control_plane_;
  Executor executor_;
  protocol::Node node_;
  Window<std::shared_ptr<Operation>> operations_;  ///< pending, by token
  std::vector<protocol::Action> actions_;          ///< what the node wants, while being carried out
  std::vector<ReceivedMessage> received_;
  std::vector<std::shared_ptr<Operation>> taken_;     ///< from the mailbox, while being submitted
  std::vector<std::shared_ptr<Operation>> launched_;  ///< of one batch
  std::int64_t launched_at_ = 0;  ///< when the decision being carried out began, or 0
  RuntimeCounters counters_;
  std::atomic<std::uint64_t> joins_{0};
  std::map<std::uint32_t, std::uint64_t> joins_done_;  ///< guarded by mailbox_mutex_
  bool shutdown_requested_ = false;
  bool failure_told_ = false;
  FlightRecorder flight_;
  std::atomic<std::uint64_t> rounds_{0};  ///< written under the lock
  std::uint64_t rounds_in_vain_ = 0;      ///< since something was done
  bool node_needs_round_ = false;  ///< the node may want something though nothing new has come in

  // The mailbox: guarded by mailbox_mutex_.
  std::mutex mailbox_mutex_;
  std::condition_variable wake_;       ///< wakes the background thread
  std::condition_variable completed_;  ///< wakes waiters that do not drive
  std::vector<std::shared_ptr<Operation>> mailbox_;
  bool mail_ = false;     ///< something happened since the background thread last looked
  bool started_ = false;  ///< the background thread may begin
  bool stop_ = false;
  bool closed_ = false;  ///< nobody serves the mailbox any more; written under both locks

  /// The latest operations on device memory, by process set and name; guarded by mailbox_mutex_.
  std::map<std::pair<std::uint32_t, std::string>, std::weak_ptr<Operation>> on_device_;
  std::vector<std::function<void()>> callbacks_;  ///< due: guarded by mailbox_mutex_
  std::atomic<bool> callbacks_due_{false};

  Participants participants_;
  std::atomic<int> drivers_{0};   ///< threads in drive()
  std::atomic<int> sleepers_{0};  ///< those of them that wait for `completed_`
  std::atomic<std::uint64_t> productive_rounds_{0};
  std::atomic<bool> pending_{false};  ///< the last round left something to do
  std::atomic<bool> failed_{false};   ///< the node has failed
  std::atomic<bool> drained_{false};  ///< the node has stopped and nothing is left to do or to send
  std::atomic<bool> mailbox_filled_{false};  ///< a hint, so that an empty mailbox costs no lock
  bool woken_by_arrivals_ = false;
  const std::thread::id owner_ = std::this_thread::get_id();
  std::thread thread_;
};

/// "allreduce 'loss' (train.cc:42)"
std::string describe(const Operation& operation);

/// True in a child made by fork() after a runtime was made. The runtime does nothing there.
bool in_forked_child();

}  // namespace ringleader::runtime
