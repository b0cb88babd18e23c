// SPDX-License-Identifier: Apache-2.0
//
// What a node hears from its neighbours in the tree, and what it tells them.
#include <ringleader/core/protocol/mutated.h>
#include <ringleader/core/protocol/node.h>

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace ringleader::protocol {

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
  if (stopped_) return Status();  // what crossed the end of the log no longer matters
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
  if (!in_turn && !mutated(Mutation::accept_repeats)) {
    return Status(Code::bad_message,
                  fmt::format("announcement {} is repeated or out of turn", announcement.sequence));
  }
  if (announcement.applied > catalog_.log_length()) {
    return Status(Code::bad_message, "an announcement refers to log entries that do not exist");
  }
  if (const Status status = receive_operations(child, announcement); !status.ok()) return status;
  for (const JoinAnnouncement& join : announcement.joins) {
    if (announcement.applied < void_before_) break;
    const ProcessSetInfo* set = catalog_.process_set(join.process_set);
    if (set == nullptr) return Status(Code::bad_message, "a join of an unknown process set");
    readiness_.add_join(join.process_set, child, join.last_rank);
  }
  if (const Status status = receive_positions(child, announcement); !status.ok()) return status;
  if (announcement.farewell) {
    if (coordinator_) {
      coordinator_->farewell(announcement.farewell->rank);
    } else if (!outgoing_.farewell) {
      outgoing_.farewell = announcement.farewell;
    }
  }
  if (announcement.alarm != Alarm::none) raise(announcement.alarm);
  if (announcement.survey) {
    if (!announcement.survey->is_plausible(tree_.size)) {
      return Status(Code::bad_message, "an answer about ranks that do not exist");
    }
    // An answer that comes too late is to a question that is closed.
    if (announcement.survey->applied >= inquiry_at_) watch_.answer(child, *announcement.survey);
  }
  return Status();
}

Status Node::receive_operations(int child, const Announcement& announcement) {
  if (announcement.applied < void_before_) return Status();
  Status status;
  announcement.ready.for_each([&](std::uint32_t id) {
    // Whoever sent a stale announcement drops it too, when it applies the entry that made it so.
    const bool stale = announcement.applied < catalog_.changed_at(id);
    if (stale && !mutated(Mutation::reuse_id_early)) return;
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

Status Node::receive_positions(int child, const Announcement& announcement) {
  for (const std::uint32_t plan : announcement.leaving) {
    const PlanInfo* info = catalog_.plan(plan);
    if (info == nullptr) continue;  // released meanwhile
    const bool stale = announcement.applied < catalog_.changed_at(info->first_id);
    if (stale || !plans_[plan].first_leave()) continue;
    if (coordinator_) {
      coordinator_->leave(plan);
    } else {
      outgoing_.leaving.push_back(plan);
    }
  }
  for (const PositionAnnouncement& position : announcement.positions) {
    const auto found = plans_.find(position.plan);
    if (found == plans_.end()) return Status(Code::bad_message, "a position in an unknown plan");
    found->second.answer(child, position.least, position.most);
  }
  return Status();
}

Status Node::receive_log(const LogAppend& append, const Payload& bytes) {
  if (append.first != catalog_.log_length()) {
    return Status(Code::bad_message, fmt::format("log entry {} came where {} was due", append.first,
                                                 catalog_.log_length()));
  }
  tell_children(bytes);
  if (mutated(Mutation::withhold_log) && tree_.child_count() > 0) messages_.pop_back();
  for (const LogEntry& entry : append.entries) {
    if (const Status status = apply(entry); !status.ok()) return status;
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
  for (Action& action : reused) {
    auto* const launch = std::get_if<Launch>(&action);
    if (launch != nullptr && spare_items_.size() < kSpares) {
      spare_items_.push_back(std::move(launch->items));
    }
  }
  reused.clear();
  reused.swap(actions_);
  return reused;
}

void Node::flush() {
  const auto frozen = [](const auto& item) { return item.second.frozen(); };
  if (!readiness_.has_complete() && outgoing_.empty() &&
      std::none_of(plans_.begin(), plans_.end(), frozen)) {
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
    for (std::uint32_t plan : std::exchange(outgoing_.leaving, {})) coordinator_->leave(plan);
    for (std::uint32_t plan = 0; plan < catalog_.plan_count(); ++plan) {
      const PlanInfo* info = catalog_.plan(plan);
      if (info == nullptr || !plans_[plan].frozen()) continue;
      const auto reporters = catalog_.process_set(info->process_set())->reporters;
      if (auto answer = plans_[plan].take_answer(plan, reporters)) {
        coordinator_->positions(*answer);
      }
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
  for (auto& [plan, state] : plans_) {
    const PlanInfo* info = catalog_.plan(plan);
    if (info == nullptr) continue;
    const auto reporters = catalog_.process_set(info->process_set())->reporters;
    if (auto answer = state.take_answer(plan, reporters)) outgoing_.positions.push_back(*answer);
  }
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

}  // namespace ringleader::protocol
