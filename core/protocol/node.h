// SPDX-License-Identifier: Apache-2.0
//
// Node: one rank's side of the negotiation, a state machine without threads, clocks or I/O.
//
//   node.submit(token, request);                    // what the rank wants
//   node.receive(from, bytes);                      // what other ranks say
//   for (auto& message : node.take_messages()) ...  // send these, in order per receiver
//   for (auto& action : node.take_actions()) ...    // carry these out, in order
//   node.finished(launch_id);                       // a launched batch has run
//   node.tick(now, awaited);                        // time passes
//
// Messages between two ranks must arrive in order. README.md explains the protocol and which class
// does which part of it: this one takes messages in and gives messages and actions out.
#pragma once

#include <ringleader/core/protocol/action.h>
#include <ringleader/core/protocol/catalog.h>
#include <ringleader/core/protocol/coordinator.h>
#include <ringleader/core/protocol/inquiry.h>
#include <ringleader/core/protocol/launches.h>
#include <ringleader/core/protocol/log_reader.h>
#include <ringleader/core/protocol/message.h>
#include <ringleader/core/protocol/plan_replay.h>
#include <ringleader/core/protocol/readiness.h>
#include <ringleader/core/protocol/tree.h>
#include <ringleader/core/protocol/watch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
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

class Node {
 public:
  explicit Node(const NodeOptions& options);
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  /// The rank requests an operation. An error concerns this rank alone: nothing was accepted, and
  /// no Completion follows. Tokens ascend from 1.
  Status submit(Token token, Request request);
  Status submit(Token token, std::shared_ptr<const Request> request);

  /// Parameter `index` of a plan is ready on this rank.
  Status submit_parameter(Token token, std::uint32_t plan, std::uint32_t index,
                          SourceLocation where = {});

  /// Bytes from another rank. An error means that the peer is broken: the node fails as if by
  /// lost().
  Status receive(int from, Payload bytes);

  /// The same for a message that has already been decoded.
  Status receive(int from, const Message& message, const Payload& bytes);

  /// Advances time. `awaited` holds, for each program thread that uses the library, the operation
  /// it waits for; empty if some thread does not wait. It may be older than the node's state: a
  /// thread whose operation has completed is about to go on, even if it has not left the wait yet.
  /// Call this now and then while operations are pending, and soon while wants_tick() is true.
  void tick(Time now, const std::vector<Token>& awaited);
  bool wants_tick() const { return !stopped_ && inquiry_.is_open(); }

  /// A launched batch has run, or failed beyond repair.
  void finished(std::uint64_t launch_id, const Status& status = Status());

  /// This rank wants all ranks to stop.
  void request_shutdown();

  /// A rank can no longer be reached: everything pending fails, and the neighbours are told.
  void lost(const Status& reason);

  std::vector<OutgoingMessage> take_messages();
  /// Later actions reuse the memory of `reused`.
  std::vector<Action> take_actions(std::vector<Action> reused = {});

  /// Operations of this rank that have not completed.
  std::size_t pending() const { return launches_.operations().size(); }

  /// True once nothing more will be decided, because of a shutdown or a failure.
  bool stopped() const { return stopped_.has_value(); }

  /// True if it stopped because a rank was lost, or kept the others waiting for too long.
  bool failed() const { return failed_; }

  Status stop_reason() const { return stopped_.value_or(Status()); }

  /// True when it has stopped and every launched batch has finished.
  bool drained() const { return stopped() && launches_.none_in_flight(); }

  /// Whole steps of a plan that this rank has submitted; 0 if the plan does not exist.
  std::int64_t step_of(std::uint32_t plan) const;

  const Catalog& catalog() const { return catalog_; }
  std::uint64_t log_length() const { return catalog_.log_length(); }

 private:
  // The rank's own requests.
  Status check(const Request& request) const;
  Status check_target(const Request& request) const;
  Status check_join(const Request& request) const;
  std::string site_of(const Request& request) const;
  void announce(Token token);

  // Messages from neighbours.
  Status receive_announcement(int from, const Announcement& announcement);
  Status receive_operations(int child, const Announcement& announcement);
  Status receive_joins(int child, const Announcement& announcement);
  Status receive_positions(int child, const Announcement& announcement);
  Status receive_report(int child, const Announcement& announcement);
  Status receive_log(const LogAppend& append, const Payload& bytes);
  void farewell(const Farewell& farewell);

  // Messages to neighbours.
  void flush();
  void flush_to_parent();
  void flush_to_coordinator();
  void send_log();
  void tell_children(const Payload& bytes);

  // Late ranks.
  bool all_wait(const std::vector<Token>& awaited) const;
  void raise(Alarm alarm);
  void act_alone(Alarm alarm);
  void act_on(const DeadlockReport& report);
  void abort_all(const Status& reason);

  Tree tree_;
  Catalog catalog_;
  Readiness readiness_;
  PlanStates plans_;
  Launches launches_;
  PlanReplay replay_;
  Inquiry inquiry_;
  LogReader reader_;
  std::unique_ptr<Coordinator> coordinator_;  ///< null except on the root

  Announcement outgoing_;      ///< to the parent
  std::vector<LogEntry> log_;  ///< root only: not yet sent
  std::vector<OutgoingMessage> messages_;
  bool leaving_ = false;  ///< request_shutdown() was called
  bool failed_ = false;
  std::optional<Status> stopped_;

  std::uint64_t announcements_sent_ = 0;
  std::vector<std::uint64_t> announcements_heard_;  ///< per child
};

}  // namespace ringleader::protocol
