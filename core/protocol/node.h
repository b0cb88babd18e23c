// SPDX-License-Identifier: Apache-2.0
//
// Node: one rank's side of the negotiation, a state machine without threads, clocks or I/O.
//
//   node.submit(token, request);                    // what the rank wants
//   node.receive(from, bytes);                      // what other ranks say
//   for (auto& message : node.take_messages()) ...  // to be sent, in order per receiver
//   for (auto& action : node.take_actions()) ...    // to be done, in order
//   node.finished(launch_id);                       // a launched batch has run
//   node.tick(now, awaited);                        // time passes
//
// It expects that messages between two ranks arrive in order. README.md explains the protocol.
#pragma once

#include <ringleader/core/protocol/catalog.h>
#include <ringleader/core/protocol/coordinator.h>
#include <ringleader/core/protocol/local_operations.h>
#include <ringleader/core/protocol/message.h>
#include <ringleader/core/protocol/plan_state.h>
#include <ringleader/core/protocol/readiness.h>
#include <ringleader/core/protocol/tree.h>
#include <ringleader/core/protocol/watch.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <variant>
#include <vector>

namespace ringleader::protocol {

struct NodeOptions {
  int rank = 0;
  int size = 1;
  int radix = 8;
  std::int64_t fusion_bytes_max = 4 << 20;
  std::size_t names_max = 65536;
  WatchOptions watch;
};

struct OutgoingMessage {
  int to = 0;
  Payload bytes;
};

/// One tensor of a batch to launch.
struct LaunchItem {
  Token token = kNoToken;  ///< this rank's operation, or kNoToken: take part with neutral elements
  std::uint32_t tensor = 0;     ///< which tensor of the operation
  std::int64_t count = 0;       ///< elements, as agreed (allgather and alltoall: of some rank)
  std::uint32_t parameter = 0;  ///< of a plan: which of its tensors it is
};

/// Launch these tensors as one collective. Answered by Node::finished(id).
struct Launch {
  std::uint64_t id = 0;
  std::uint32_t channel = 0;
  std::uint32_t process_set = 0;
  std::shared_ptr<const Request> request;  ///< names are of the first item
  Op op = Op::allreduce;                   ///< what all items agree on, with what follows
  std::int32_t root = -1;                  ///< broadcast: world rank
  DType dtype = DType::f32;
  std::int32_t contributors = 0;  ///< members that submitted it
  bool replayed = false;          ///< a plan's batch, launched without negotiation
  std::vector<LaunchItem> items;
};

/// An operation of this rank has ended. Exactly one per accepted submit().
struct Completion {
  Token token = kNoToken;
  Status status;
  std::int64_t value = 0;  ///< join: the last rank; add_process_set and register_plan: the id
};

/// No batch will be launched on this channel any more.
struct ChannelClosed {
  std::uint32_t channel = 0;
};

/// What the user should know: a report about ranks that are late.
struct Notice {
  std::string text;
};

/// A deadlock was proved: everything that was pending and undecided has ended.
struct Reset {
  Status reason;
};

using Action = std::variant<Launch, Completion, ChannelClosed, Notice, Reset>;

class Node {
 public:
  explicit Node(const NodeOptions& options);
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  /// The rank wishes to run an operation. An error concerns this rank alone: then nothing was
  /// accepted and no Completion follows. Tokens ascend from 1.
  Status submit(Token token, Request request);
  Status submit(Token token, std::shared_ptr<const Request> request);

  /// The rank has parameter `index` of a plan ready.
  Status submit_parameter(Token token, std::uint32_t plan, std::uint32_t index,
                          SourceLocation where = {});

  /// Bytes from another rank. An error means that the peer is broken; the node fails as by lost().
  Status receive(int from, Payload bytes);

  /// The same for bytes that have been decoded.
  Status receive(int from, const Message& message, const Payload& bytes);

  /// Time passes. `awaited`: for each thread of the program that uses the library, the operation
  /// for which it waits; empty if some thread does not wait. It may be older than the node's state:
  /// a thread whose operation has completed is about to go on, though it may not have left yet. To
  /// be called now and then while operations are pending, and soon while wants_tick().
  void tick(Time now, const std::vector<Token>& awaited);
  bool wants_tick() const { return !stopped_ && (watch_.is_open() || alarm_ != Alarm::none); }

  /// A launched batch has run, or failed beyond repair.
  void finished(std::uint64_t launch_id, const Status& status = Status());

  /// This rank wants everybody to stop.
  void request_shutdown();

  /// A rank can no longer be reached: everything pending fails, and the neighbours are told.
  void lost(const Status& reason);

  std::vector<OutgoingMessage> take_messages();
  /// `reused` gives its memory for the actions to come.
  std::vector<Action> take_actions(std::vector<Action> reused = {});

  /// Operations of this rank that have not completed.
  std::size_t pending() const { return operations_.size(); }

  /// True once nothing will be decided any more; `reason` of the shutdown or the failure.
  bool stopped() const { return stopped_.has_value(); }

  /// True if it stopped because a rank was lost, or kept the others waiting for too long.
  bool failed() const { return failed_; }

  Status stop_reason() const { return stopped_.value_or(Status()); }

  /// True when it has stopped and every launched batch has finished.
  bool drained() const { return stopped() && in_flight_.empty(); }

  /// Whole steps that this rank has submitted of a plan; 0 for a plan that does not exist.
  std::int64_t step_of(std::uint32_t plan) const;

  const Catalog& catalog() const { return catalog_; }
  std::uint64_t log_length() const { return catalog_.log_length(); }

 private:
  struct InFlight {
    std::vector<Token> tokens;
    std::optional<std::uint32_t> plan;
    std::uint64_t position = 0;  ///< plan batches launched without negotiation
    bool replayed = false;
    bool ran = false;
    Status status;
    Status verdict;  ///< overrides a success: the batch lacked some rank's data
  };

  // node.cc: the rank's own wishes
  Status check(const Request& request) const;
  std::string site_of(const Request& request) const;
  void announce(Token token);
  void announce_parameter(std::uint32_t plan, std::uint32_t index);
  std::vector<std::uint32_t> order_of(std::uint32_t plan) const;

  // node_messages.cc: what neighbours say and are told
  Status receive_announcement(int from, const Announcement& announcement);
  Status receive_operations(int child, const Announcement& announcement);
  Status receive_positions(int child, const Announcement& announcement);
  Status receive_log(const LogAppend& append, const Payload& bytes);
  void flush();
  void flush_to_parent();
  void flush_to_coordinator();
  void send_log();
  void tell_children(const Payload& bytes);

  // node_plans.cc: batches that are launched without negotiation
  void run_plan(std::uint32_t plan);
  void replay_batch(std::uint32_t plan, const std::vector<std::uint32_t>& parameters);
  void leave_plans(std::uint32_t process_set);

  // node_watch.cc: ranks that are late, and deadlocks
  bool all_wait(const std::vector<Token>& awaited) const;
  void raise(Alarm alarm);
  void act_on_own(Alarm alarm);
  Standing standing() const;
  void inquire();
  void conclude_survey();
  void judge(const Survey& survey);
  void notice(std::string text);
  void abort_all(const Status& reason);

  // node_log.cc: what log entries do here
  Status apply(const LogEntry& entry);
  Status apply_entry(const DefineEntry& entry);
  Status apply_entry(const LaunchEntry& entry);
  Status apply_entry(const CompleteEntry& entry);
  Status apply_entry(const SetEntry& entry);
  Status apply_entry(const SetRemovedEntry& entry);
  Status apply_entry(const PlanEntry& entry);
  Status apply_entry(const PlanReleasedEntry& entry);
  Status apply_entry(const JoinedEntry& entry);
  Status apply_entry(const ArmEntry& entry);
  Status apply_entry(const FreezeEntry& entry);
  Status apply_entry(const CutEntry& entry);
  Status apply_entry(const ShutdownEntry& entry);
  Status apply_entry(const InquiryEntry& entry);
  Status apply_entry(const ResetEntry& entry);
  void end_everything(const Status& reason);
  void start(Launch launch, InFlight in_flight);
  void settle(const InFlight& in_flight);
  void complete(Token token, Status status, std::int64_t value = 0);

  Tree tree_;
  Catalog catalog_;
  Readiness readiness_;
  std::optional<Coordinator> coordinator_;  ///< on the root
  LocalOperations operations_;
  std::map<std::uint32_t, PlanState> plans_;
  std::map<std::uint64_t, InFlight> in_flight_;
  /// The memory of batches that have ended, and of launches that were taken, for the next: so many
  /// are seldom in flight at once.
  static constexpr std::size_t kSpares = 16;
  std::vector<decltype(in_flight_)::node_type> spare_in_flight_;
  std::vector<std::vector<LaunchItem>> spare_items_;
  std::map<std::uint32_t, Token> joins_;  ///< process sets that this rank has joined
  std::uint64_t next_launch_ = 1;

  Announcement outgoing_;      ///< to the parent
  std::vector<LogEntry> log_;  ///< of the root: not yet sent
  std::vector<OutgoingMessage> messages_;
  std::vector<Action> actions_;
  bool leaving_ = false;  ///< request_shutdown() was called
  bool failed_ = false;
  std::optional<Status> stopped_;

  std::uint64_t announcements_sent_ = 0;
  std::vector<std::uint64_t> announcements_heard_;  ///< per child
  std::uint64_t void_before_ = 0;                   ///< the log length after the last reset

  Watch watch_;
  Time now_ = 0;  ///< that has passed while this rank ran
  Time ticked_at_ = 0;
  bool blocked_ = false;
  std::uint64_t inquiry_at_ = 0;      ///< the log length after the latest inquiry
  Time inquired_at_ = INT64_MIN / 2;  ///< root
  std::uint32_t attempt_ = 0;         ///< root: inquiries in a row that not all have answered
  Alarm alarm_ = Alarm::none;         ///< root: to be looked into
  Alarm forwarded_ = Alarm::none;     ///< others: passed on since the last inquiry
  Alarm inquiring_ = Alarm::none;     ///< root: why the inquiry was opened
  Time warned_at_ = INT64_MIN / 2;    ///< root
};

}  // namespace ringleader::protocol
