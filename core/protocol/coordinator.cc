// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/protocol/coordinator.h>

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace ringleader::protocol {
namespace {

Status joined_error(const Request& request, const Absence& absence) {
  return Status(Code::joined,
                fmt::format("{}: rank {} has joined, and this operation needs every rank; run it "
                            "before any rank joins",
                            describe(request), absence.first_rank));
}

}  // namespace

Coordinator::Coordinator(const Catalog& catalog, CoordinatorOptions options,
                         std::function<void(LogEntry)> append,
                         std::function<std::vector<std::uint32_t>(std::uint32_t)> order)
    : catalog_(catalog), options_(options), append_(std::move(append)), order_(std::move(order)) {}

void Coordinator::complete(CompleteOperation operation) {
  if (end_reason_) return;  // it ends with the others
  if (operation.named) {
    decide_named(std::move(*operation.named));
  } else {
    queue(*operation.id, operation.absence);
  }
}

/// Decides an operation that came with its request: a first use, a change, or a conflict.
void Coordinator::decide_named(NamedAnnouncement named) {
  const auto shared = std::move(named.request);
  const Request& request = *shared;
  if (named.conflict) {
    complete_key(owned(key_of(request)), conflict_error(request, *named.conflict));
    return;
  }
  if (named.absence.count > 0 && !runs_with_joined_ranks(request)) {
    complete_key(owned(key_of(request)), joined_error(request, named.absence));
    return;
  }
  if (request.kind == RequestKind::collective) {
    queue(define(shared), named.absence);
    return;
  }
  flush();  // what was ready before takes effect first
  switch (request.kind) {
    case RequestKind::collective:  // above
      return;
    case RequestKind::add_process_set:
      append_(SetEntry{catalog_.free_process_set(), request.ranks, owned(key_of(request))});
      return;
    case RequestKind::remove_process_set:
      append_(SetRemovedEntry{request.target, owned(key_of(request))});
      std::erase_if(plans_,
                    [this](const auto& item) { return catalog_.plan(item.first) == nullptr; });
      std::erase_if(temporary_free_,
                    [this](std::uint32_t id) { return catalog_.find(id) == nullptr; });
      return;
    case RequestKind::register_plan: {
      const std::uint32_t plan = catalog_.free_plan();
      append_(PlanEntry{plan, catalog_.free_id_range(request.tensors.size()), shared});
      plans_[plan] = PlanProgress();
      start_step(plans_[plan]);
      plans_[plan].decided.resize(request.tensors.size());
      return;
    }
    case RequestKind::release_plan:
      plans_.erase(request.target);
      append_(PlanReleasedEntry{request.target, owned(key_of(request))});
      return;
    case RequestKind::barrier:  // done, now that all members are here
    case RequestKind::join:     // never queued
      complete_key(owned(key_of(request)));
  }
}

void Coordinator::queue(std::uint32_t id, const Absence& absence) {
  if (catalog_.find(id) == nullptr) return;  // its process set was removed just before
  const Request& request = *catalog_.find(id)->request;
  if (absence.count > 0 && !runs_with_joined_ranks(verb_of(request, *catalog_.tensor(id, 0)))) {
    // A rank that has registered a plan does not join. If it joined at the same time, the others
    // wait for it, and the watch says so.
    if (request.kind == RequestKind::register_plan) return;
    complete_key(owned(key_of(request)), joined_error(request, absence));
    return;
  }
  ready_.push_back({id, absence.count});
}

std::uint32_t Coordinator::define(std::shared_ptr<const Request> request) {
  const std::optional<std::uint32_t> known = catalog_.id_of(key_of(*request));
  const bool keep = known || catalog_.named_ids() < options_.names_max;
  std::uint32_t id = known ? *known : catalog_.free_id();
  if (!keep) {
    if (!temporary_free_.empty()) {
      id = temporary_free_.back();
      temporary_free_.pop_back();
    }
    temporary_used_.push_back(id);
  }
  append_(DefineEntry{id, keep, std::move(request)});
  return id;
}

void Coordinator::flush() {
  if (ready_.empty()) return;
  for (LaunchEntry& entry : fuse(catalog_, std::exchange(ready_, {}), options_.fusion_bytes_max)) {
    // An earlier entry of this flush may have armed the plan; then all ranks replay this batch.
    if (is_armed(catalog_.find(entry.items.front().id)->plan)) continue;
    append_(entry);
    note_launch(entry);
  }
  temporary_free_.insert(temporary_free_.end(), temporary_used_.begin(), temporary_used_.end());
  temporary_used_.clear();
}

bool Coordinator::is_armed(const std::optional<std::uint32_t>& plan) const {
  return plan && plans_.at(*plan).armed;
}

/// Follows a plan's step; when every parameter has been decided, the plan can be armed.
void Coordinator::note_launch(const LaunchEntry& entry) {
  const Definition* first = catalog_.find(entry.items.front().id);
  if (!first->plan) return;
  const std::uint32_t plan = *first->plan;
  PlanProgress& progress = plans_[plan];
  for (const BatchItem& item : entry.items) {
    const std::uint32_t parameter = catalog_.find(item.id)->parameter;
    if (progress.decided[parameter]++ == 0) {
      ++progress.decided_count;
    } else {
      progress.whole = false;  // the ranks are a step ahead with it
    }
  }
  if (entry.absent > 0) progress.whole = false;
  while (progress.decided_count == progress.decided.size()) {
    if (progress.whole) {
      progress.armed = progress.was_armed = true;
      progress.batches =
          cut_plan(*catalog_.plan(plan)->request, order_(plan), options_.fusion_bytes_max);
      append_(ArmEntry{plan, progress.batches});
      return;
    }
    next_step(progress);
  }
}

/// The step is over. What was decided ahead belongs to the next step, which then was not followed
/// from its beginning. Only a whole step, in its own order, may be replayed.
void Coordinator::next_step(PlanProgress& progress) {
  progress.decided_count = 0;
  for (std::uint32_t& times : progress.decided) {
    if (--times > 0) ++progress.decided_count;
  }
  progress.whole = progress.decided_count == 0;
}

void Coordinator::start_step(PlanProgress& progress) {
  std::fill(progress.decided.begin(), progress.decided.end(), 0U);
  progress.decided_count = 0;
  progress.whole = true;
}

void Coordinator::joined(const JoinAnnouncement& join) {
  if (end_reason_) return;
  flush();
  append_(JoinedEntry{join.process_set, join.last_rank});
}

void Coordinator::leave(std::uint32_t plan) {
  const auto found = plans_.find(plan);
  if (found == plans_.end() || !found->second.armed || found->second.freezing) return;
  found->second.freezing = true;
  append_(FreezeEntry{plan});
}

void Coordinator::positions(const PositionAnnouncement& positions) {
  const auto found = plans_.find(positions.plan);
  if (found == plans_.end() || !found->second.freezing) return;
  PlanProgress& progress = found->second;
  progress.freezing = false;
  if (end_reason_) {
    cuts_.push_back({positions.plan, positions.most, positions.least});
    finish_end();
    return;
  }
  // The current step's batches before the cut need no negotiation.
  const std::vector<std::vector<std::uint32_t>> batches = progress.batches;
  const std::uint64_t done = positions.most % batches.size();
  progress.armed = false;
  start_step(progress);
  for (std::uint64_t b = 0; b < done; ++b) {
    for (const std::uint32_t parameter : batches[b]) progress.decided[parameter] = 1;
    progress.decided_count += static_cast<std::uint32_t>(batches[b].size());
  }
  progress.whole = done == 0;
  append_(CutEntry{positions.plan, positions.most});
}

void Coordinator::farewell(std::int32_t rank) {
  end(Status(Code::shutdown,
             fmt::format("rank {} shut down; operations that were not yet decided on all ranks "
                         "cannot run",
                         rank)),
      true);
}

void Coordinator::inquire(std::uint32_t attempt) { append_(InquiryEntry{attempt}); }

void Coordinator::reset(const Status& reason) { end(reason, false); }

/// Freezes all plans, so that no batch stays half entered. A shutdown overtakes a reset.
void Coordinator::end(const Status& reason, bool shuts_down) {
  if (shuts_down_ || (end_reason_ && !shuts_down)) return;
  const bool frozen = end_reason_.has_value();
  if (!frozen) flush();
  end_reason_ = reason;
  shuts_down_ = shuts_down;
  if (frozen) return;  // for the reset, which now ends as a shutdown
  for (auto& [plan, progress] : plans_) {
    if (!progress.was_armed || progress.freezing) continue;
    progress.freezing = true;
    append_(FreezeEntry{plan});
  }
  finish_end();
}

void Coordinator::finish_end() {
  for (const auto& [plan, progress] : plans_) {
    if (progress.freezing) return;
  }
  for (const CutEntry& cut : std::exchange(cuts_, {})) append_(cut);
  if (shuts_down_) {
    append_(ShutdownEntry{*end_reason_});
    return;
  }
  append_(ResetEntry{*end_reason_});
  end_reason_.reset();
  ready_.clear();
  for (auto& [plan, progress] : plans_) {
    progress.armed = false;
    start_step(progress);
  }
}

void Coordinator::complete_key(const Key& key, Status status) {
  append_(CompleteEntry{key, std::move(status)});
}

}  // namespace ringleader::protocol
