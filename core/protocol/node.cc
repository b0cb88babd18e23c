// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/protocol/node.h>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

namespace ringleader::protocol {

Node::Node(const NodeOptions& options)
    : tree_{options.rank, options.size, std::clamp(options.radix, 1, kRadixMax)},
      catalog_(tree_),
      readiness_(catalog_, tree_.rank, tree_.child(0)),
      launches_(plans_),
      replay_(catalog_, plans_, readiness_, launches_),
      inquiry_(tree_, catalog_, options.watch),
      reader_(catalog_, readiness_, plans_, launches_, replay_, inquiry_, stopped_),
      announcements_heard_(static_cast<std::size_t>(tree_.child_count())) {
  if (!tree_.is_root()) return;
  coordinator_ = std::make_unique<Coordinator>(
      catalog_, CoordinatorOptions{options.fusion_bytes_max, options.names_max},
      [this](LogEntry entry) {
        if (stopped_) return;
        // A decision that cannot be applied is the fault of a broken peer.
        if (const Status status = reader_.apply(entry); !status.ok()) return lost(status);
        log_.push_back(std::move(entry));
      },
      [this](std::uint32_t plan) { return replay_.order_of(plan); });
}

Status Node::submit(Token token, Request request) {
  return submit(token, std::make_shared<const Request>(std::move(request)));
}

Status Node::submit(Token token, std::shared_ptr<const Request> request) {
  if (const Status status = check(*request); !status.ok()) return status;
  LocalOperation operation;
  operation.where = request->where;
  operation.tensors_left = static_cast<std::uint32_t>(request->tensors.size());
  operation.request = request;
  launches_.add(token, std::move(operation));
  if (request->kind == RequestKind::join) {
    launches_.join(request->process_set, token);
    readiness_.add_join(request->process_set, kSelf, tree_.rank);
    replay_.leave(request->process_set);
  } else {
    announce(token);
  }
  return Status();
}

Status Node::check(const Request& request) const {
  const auto what = [&request] { return describe(request); };
  if (stopped_) return *stopped_;  // the same error as for what was in flight
  if (leaving_) return Status(Code::shutdown, what() + ": this rank has shut down");
  const ProcessSetInfo* set = catalog_.process_set(request.process_set);
  if (set == nullptr) return Status(Code::invalid_argument, what() + ": no such process set");
  if (!set->member) {
    return Status(Code::invalid_argument,
                  fmt::format("{}: rank {} is not a member of process set {}", what(), tree_.rank,
                              request.process_set));
  }
  if (launches_.has_joined(request.process_set)) {
    return Status(Code::joined, what() + ": this rank has joined and not all others have");
  }
  if (launches_.operations().removes(RequestKind::remove_process_set, request.process_set)) {
    return Status(Code::invalid_argument,
                  fmt::format("{}: process set {} is being removed", what(), request.process_set));
  }
  if (launches_.operations().in_flight(key_of(request))) {
    return Status(Code::duplicate_name,
                  what() +
                      ": an operation of this name is in flight on this rank; wait for it or "
                      "use another name");
  }
  if (request.op == Op::exchange &&
      !is_pairing(request.ranks, catalog_.ranks_of(request.process_set))) {
    return Status(
        Code::invalid_argument,
        fmt::format("{}: the destinations {} are not one per member, each a member or -1, "
                    "and no member twice",
                    what(), request.ranks));
  }
  if (request.kind == RequestKind::register_plan) {
    const TensorSpec* const wrong = catalog_.first_unplannable(request);
    if (wrong != nullptr) {
      return Status(Code::invalid_argument, fmt::format("{}: '{}': {} cannot be planned", what(),
                                                        wrong->name, name_of(wrong->op)));
    }
  }
  if (request.kind == RequestKind::join) return check_join(request);
  return check_target(request);
}

/// For a request that removes something: checks that it exists and is not in use.
Status Node::check_target(const Request& request) const {
  if (request.kind == RequestKind::remove_process_set) {
    if (request.target == 0 || catalog_.process_set(request.target) == nullptr) {
      return Status(Code::invalid_argument, fmt::format("{}: process set {} cannot be removed",
                                                        describe(request), request.target));
    }
    if (launches_.operations().uses_process_set(request.target)) {
      return Status(Code::invalid_argument,
                    fmt::format("{}: operations of process set {} are pending", describe(request),
                                request.target));
    }
  }
  if (request.kind == RequestKind::release_plan) {
    const auto plan = plans_.find(request.target);
    if (plan == plans_.end() || plan->second.busy()) {
      return Status(Code::invalid_argument, fmt::format("{}: plan {} does not exist or is in use",
                                                        describe(request), request.target));
    }
  }
  return Status();
}

Status Node::check_join(const Request& request) const {
  for (const auto& [plan, state] : plans_) {
    const PlanInfo* info = catalog_.plan(plan);
    if (info->process_set() != request.process_set) continue;
    if (plan_runs_with_joined_ranks(*info->request)) continue;
    if (launches_.operations().removes(RequestKind::release_plan, plan)) continue;
    return Status(Code::invalid_argument,
                  fmt::format("{}: {} needs every rank in every step; end it first, or use its "
                              "own way to join",
                              describe(request), describe(*info->request)));
  }
  return Status();
}

Status Node::submit_parameter(Token token, std::uint32_t plan, std::uint32_t index,
                              SourceLocation where) {
  if (stopped_) return *stopped_;
  if (leaving_) return Status(Code::shutdown, "a gradient: this rank has shut down");
  return replay_.submit(token, plan, index, where);
}

std::int64_t Node::step_of(std::uint32_t plan) const {
  const auto found = plans_.find(plan);
  return found == plans_.end() ? 0 : static_cast<std::int64_t>(found->second.step());
}

/// "train.cc:42, in step 7 of 'optimizer'"
std::string Node::site_of(const Request& request) const {
  const std::string site = to_string(request.where);
  const std::string step = replay_.describe_step();
  return site + (site.empty() || step.empty() ? "" : ", ") + step;
}

/// Announces by id if the id stands for exactly this request, in full otherwise.
void Node::announce(Token token) {
  const auto shared = launches_.operations().find(token)->request;
  const Request& request = *shared;
  const std::optional<std::uint32_t> id = catalog_.id_of(key_of(request));
  if (id && !first_disagreement(*catalog_.find(*id)->request, request)) {
    readiness_.add(*id, kSelf);
  } else {
    readiness_.add(NamedAnnouncement{shared, tree_.rank, site_of(request), {}, {}}, kSelf);
  }
}

void Node::finished(std::uint64_t launch_id, const Status& status) {
  launches_.finished(launch_id, status, stopped());
}

void Node::request_shutdown() {
  if (leaving_ || stopped_) return;
  leaving_ = true;
  farewell({tree_.rank});
}

void Node::farewell(const Farewell& farewell) {
  if (coordinator_) {
    coordinator_->farewell(farewell.rank);
  } else if (!outgoing_.farewell) {
    outgoing_.farewell = farewell;
  }
}

void Node::lost(const Status& reason) {
  if (failed_) return;
  const Payload bytes = payload_of(Abort{reason});
  if (!tree_.is_root()) messages_.push_back({tree_.parent(), bytes});
  tell_children(bytes);
  failed_ = true;
  stopped_ = Status(Code::rank_lost, reason.message());
  launches_.fail(*stopped_);
}

Status Node::receive(int from, Payload bytes) {
  const Result<Message> message = decode(*bytes);
  if (message.ok()) return receive(from, *message, bytes);
  const Status status(message.status().code(),
                      fmt::format("from rank {}: {}", from, message.status().message()));
  lost(status);
  return status;
}

Status Node::receive(int from, const Message& message, const Payload& bytes) {
  if (const auto* abort = std::get_if<Abort>(&message)) {
    lost(abort->reason);
    return Status();
  }
  if (stopped_) return Status();  // messages that crossed the end of the log no longer matter
  const auto* announcement = std::get_if<Announcement>(&message);
  Status status = announcement != nullptr ? receive_announcement(from, *announcement)
                  : from == tree_.parent() && !tree_.is_root()
                      ? receive_log(std::get<LogAppend>(message), bytes)
                      : Status(Code::bad_message, "a log entry, though it is not the parent");
  if (!status.ok()) {
    status = Status(status.code(), fmt::format("from rank {}: {}", from, status.message()));
    lost(status);
  }
  return status;
}

Status Node::receive_announcement(int from, const Announcement& announcement) {
  const int child = tree_.index_of_child(from);
  if (child < 0) {
    return Status(Code::bad_message, "an announcement came from a rank that is not a child");
  }
  const bool in_turn =
      announcement.sequence == announcements_heard_[static_cast<std::size_t>(child)]++;
  if (!in_turn) {
    return Status(Code::bad_message,
                  fmt::format("announcement {} is repeated or out of turn", announcement.sequence));
  }
  if (announcement.applied > catalog_.log_length()) {
    return Status(Code::bad_message, "an announcement refers to log entries that do not exist");
  }
  if (announcement.applied >= reader_.void_before()) {
    if (const Status status = receive_operations(child, announcement); !status.ok()) return status;
    if (const Status status = receive_joins(child, announcement); !status.ok()) return status;
  }
  if (const Status status = receive_positions(child, announcement); !status.ok()) return status;
  if (announcement.farewell) farewell(*announcement.farewell);
  if (announcement.alarm != Alarm::none) raise(announcement.alarm);
  return receive_report(child, announcement);
}

Status Node::receive_operations(int child, const Announcement& announcement) {
  Status status;
  announcement.ready.for_each([&](std::uint32_t id) {
    // The sender of a stale announcement drops it too, when it applies the entry that made it
    // stale.
    if (announcement.applied < catalog_.changed_at(id)) return;
    if (catalog_.find(id) == nullptr) {
      status = Status(Code::bad_message, fmt::format("an announcement of the unknown id {}", id));
      return;
    }
    Absence absence;
    for (const IdAbsence& item : announcement.absences) {
      if (item.id == id) absence = item.absence;
    }
    readiness_.add(id, child, absence);
  });
  for (const NamedAnnouncement& named : announcement.named) {
    if (catalog_.process_set(named.request->process_set) == nullptr) {
      return Status(Code::bad_message, "an announcement in an unknown process set");
    }
    readiness_.add(named, child);
  }
  return status;
}

Status Node::receive_joins(int child, const Announcement& announcement) {
  for (const JoinAnnouncement& join : announcement.joins) {
    if (catalog_.process_set(join.process_set) == nullptr) {
      return Status(Code::bad_message, "a join of an unknown process set");
    }
    readiness_.add_join(join.process_set, child, join.last_rank);
  }
  return Status();
}

Status Node::receive_positions(int child, const Announcement& announcement) {
  for (const std::uint32_t plan : announcement.leaving) {
    const PlanInfo* info = catalog_.plan(plan);
    if (info == nullptr) continue;                                             // released meanwhile
    if (announcement.applied < catalog_.changed_at(info->first_id)) continue;  // stale
    replay_.leave_for_child(plan);
  }
  for (const PositionAnnouncement& position : announcement.positions) {
    const auto found = plans_.find(position.plan);
    if (found == plans_.end()) continue;  // released meanwhile
    found->second.answer(child, position.least, position.most);
  }
  return Status();
}

Status Node::receive_report(int child, const Announcement& announcement) {
  if (!announcement.report) return Status();
  if (!announcement.report->is_plausible(tree_.size)) {
    return Status(Code::bad_message, "an answer about ranks that do not exist");
  }
  inquiry_.answer(child, *announcement.report);
  return Status();
}

Status Node::receive_log(const LogAppend& append, const Payload& bytes) {
  if (append.first != catalog_.log_length()) {
    return Status(Code::bad_message, fmt::format("log entry {} came where {} was due", append.first,
                                                 catalog_.log_length()));
  }
  tell_children(bytes);
  for (const LogEntry& entry : append.entries) {
    if (const Status status = reader_.apply(entry); !status.ok()) return status;
  }
  return Status();
}

std::vector<OutgoingMessage> Node::take_messages() {
  if (!stopped_) flush();
  send_log();
  return std::exchange(messages_, {});
}

std::vector<Action> Node::take_actions(std::vector<Action> reused) {
  if (!stopped_) flush();
  return launches_.take_actions(std::move(reused));
}

void Node::flush() {
  if (!readiness_.has_complete() && outgoing_.empty() && !replay_.is_leaving() &&
      !replay_.any_frozen()) {
    return;
  }
  if (coordinator_) {
    flush_to_coordinator();
  } else {
    flush_to_parent();
  }
}

void Node::flush_to_coordinator() {
  // Applying an entry may make something else complete, so this runs until nothing is left.
  while (!stopped_) {
    std::vector<CompleteOperation> complete = readiness_.take_complete();
    const std::vector<JoinAnnouncement> joins = readiness_.take_joins();
    const std::uint64_t before = catalog_.log_length();
    for (CompleteOperation& operation : complete) coordinator_->complete(std::move(operation));
    coordinator_->flush();
    for (const JoinAnnouncement& join : joins) coordinator_->joined(join);
    for (const std::uint32_t plan : replay_.take_leaving()) coordinator_->leave(plan);
    for (const PositionAnnouncement& answer : replay_.take_answers()) {
      coordinator_->positions(answer);
    }
    if (complete.empty() && joins.empty() && catalog_.log_length() == before) return;
  }
}

void Node::flush_to_parent() {
  for (CompleteOperation& operation : readiness_.take_complete()) {
    if (operation.named) {
      outgoing_.named.push_back(std::move(*operation.named));
      continue;
    }
    outgoing_.ready.insert(*operation.id);
    if (operation.absence.count > 0) {
      outgoing_.absences.push_back({*operation.id, operation.absence});
    }
  }
  for (const JoinAnnouncement& join : readiness_.take_joins()) outgoing_.joins.push_back(join);
  outgoing_.leaving = replay_.take_leaving();
  outgoing_.positions = replay_.take_answers();
  if (outgoing_.empty()) return;
  outgoing_.applied = catalog_.log_length();
  outgoing_.sequence = announcements_sent_++;
  messages_.push_back({tree_.parent(), payload_of(outgoing_)});
  outgoing_ = Announcement();
}

void Node::send_log() {
  if (log_.empty()) return;
  const std::uint64_t first = catalog_.log_length() - log_.size();
  tell_children(payload_of(LogAppend{first, std::exchange(log_, {})}));
}

void Node::tell_children(const Payload& bytes) {
  for (int i = 0; i < tree_.child_count(); ++i) messages_.push_back({tree_.child(i), bytes});
}

void Node::tick(Time now, const std::vector<Token>& awaited) {
  if (stopped_ || tree_.size == 1) return;
  if (launches_.take_changed()) inquiry_.changed();
  const Alarm alarm = inquiry_.tick(now, all_wait(awaited), launches_.operations().oldest());
  if (alarm >= Alarm::unheard) {
    act_alone(alarm);
  } else {
    raise(alarm);
  }
  if (inquiry_.lacks_own_answer()) inquiry_.answer(inquiry_.position(launches_, plans_));
  if (const auto report = inquiry_.take_report()) act_on(*report);
  if (!coordinator_ || stopped_) return;
  if (const auto attempt = inquiry_.question()) coordinator_->inquire(*attempt);
}

/// A thread whose operation has completed does not count as waiting: it may submit anything next.
bool Node::all_wait(const std::vector<Token>& awaited) const {
  if (awaited.empty()) return false;
  return std::all_of(awaited.begin(), awaited.end(),
                     [this](Token token) { return launches_.operations().contains(token); });
}

void Node::raise(Alarm alarm) {
  if (inquiry_.raise(alarm)) outgoing_.alarm = alarm;
}

/// Nobody answers this rank's alarm.
void Node::act_alone(Alarm alarm) {
  std::string text = inquiry_.unheard(inquiry_.position(launches_, plans_));
  if (alarm == Alarm::hopeless) {
    lost(Status(Code::rank_lost, text));
  } else {
    launches_.act(Notice{std::move(text)});
  }
}

void Node::act_on(const DeadlockReport& report) {
  if (!coordinator_) {
    outgoing_.report = report;
    return;
  }
  flush();  // what has been announced is decided before anything is called undecided
  if (stopped_) return;
  Verdict verdict = inquiry_.judge(report);
  switch (verdict.kind) {
    case Verdict::Kind::none:
      break;
    case Verdict::Kind::notice:
      launches_.act(Notice{std::move(verdict.text)});
      break;
    case Verdict::Kind::deadlock:
      coordinator_->reset(Status(Code::stalled, verdict.text));
      break;
    case Verdict::Kind::abort:
      abort_all(Status(Code::rank_lost, verdict.text));
      break;
  }
}

/// Tells every rank directly, because some rank on the way may not be running.
void Node::abort_all(const Status& reason) {
  const Payload bytes = payload_of(Abort{reason});
  for (int rank = 0; rank < tree_.size; ++rank) {
    const bool told_by_lost = rank == tree_.rank || tree_.index_of_child(rank) >= 0;
    if (!told_by_lost) messages_.push_back({rank, bytes});
  }
  lost(reason);
}

}  // namespace ringleader::protocol
