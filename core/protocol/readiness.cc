// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/protocol/readiness.h>

#include <algorithm>
#include <utility>

namespace ringleader::protocol {
namespace {

std::uint64_t bit(int reporter) { return std::uint64_t{1} << reporter; }

void accumulate(Absence& total, const Absence& more) {
  if (more.count == 0) return;
  if (total.count == 0 || more.first_rank < total.first_rank) total.first_rank = more.first_rank;
  total.count += more.count;
}

}  // namespace

void Readiness::add(std::uint32_t id, int reporter, const Absence& absence) {
  Entry& entry = by_id_[id];
  entry.process_set = catalog_.process_set_of(id);
  report(entry, id, reporter, absence, nullptr);
  if (!is_complete(entry)) return;
  auto node = by_id_.extract(id);
  finish(id, std::move(node.mapped()));
}

void Readiness::add(const NamedAnnouncement& announcement, int reporter) {
  const KeyView key = key_of(*announcement.request);
  const std::optional<std::uint32_t> id = catalog_.id_of(key);
  Entry& entry = id ? by_id_[*id] : by_key_[owned(key)];
  entry.process_set = key.process_set;
  report(entry, id, reporter, announcement.absence, &announcement);
  if (!is_complete(entry)) return;
  Entry complete = std::move(entry);
  if (id) {
    by_id_.erase(*id);
  } else {
    by_key_.erase(owned(key));
  }
  finish(id, std::move(complete));
}

/// Merges one report into the entry and compares it with the first one.
void Readiness::report(Entry& entry, const std::optional<std::uint32_t>& id, int reporter,
                       const Absence& absence, const NamedAnnouncement* named) {
  const std::int32_t rank =
      named != nullptr ? named->rank : representative(entry.process_set, reporter);
  const Request& theirs = named != nullptr ? *named->request : *catalog_.find(*id)->request;
  if (entry.reporters == 0) {
    entry.first_rank = rank;
    if (named != nullptr) {
      entry.request = named->request;
      entry.site = named->site;
    }
  } else if (!entry.conflict) {
    const Request& first = entry.request ? *entry.request : *catalog_.find(*id)->request;
    if (auto what = first_disagreement(first, theirs)) {
      entry.conflict = Conflict{std::move(*what), entry.first_rank, rank, entry.site,
                                named != nullptr ? named->site : ""};
      if (!entry.request)
        entry.request = catalog_.find(*id)->request;  // a conflict travels with its request
    }
  }
  if (named != nullptr && named->conflict && !entry.conflict) {
    entry.conflict = named->conflict;
    entry.request = named->request;
  }
  entry.reporters |= bit(reporter);
  accumulate(entry.absence, absence);
}

bool Readiness::is_complete(const Entry& entry) const {
  const ProcessSetInfo* set = catalog_.process_set(entry.process_set);
  const auto joins = joins_.find(entry.process_set);
  const std::uint64_t joined = joins == joins_.end() ? 0 : joins->second.reporters;
  const std::uint64_t missing = set->reporters & ~(entry.reporters | joined);
  return missing == 0;
}

void Readiness::finish(std::optional<std::uint32_t> id, Entry entry) {
  const ProcessSetInfo* set = catalog_.process_set(entry.process_set);
  const std::uint64_t absent = set->reporters & ~entry.reporters;
  if ((absent & bit(kSelf)) != 0) accumulate(entry.absence, {1, rank_});
  for (std::size_t i = 0; i < set->children.size(); ++i) {
    if ((absent & bit(static_cast<int>(i))) != 0) accumulate(entry.absence, set->children[i]);
  }
  CompleteOperation complete;
  complete.absence = entry.absence;
  if (entry.request) {
    complete.named =
        NamedAnnouncement{std::move(entry.request), entry.first_rank, std::move(entry.site),
                          entry.absence, std::move(entry.conflict)};
  } else {
    complete.id = id;
  }
  complete_.push_back(std::move(complete));
}

std::int32_t Readiness::representative(std::uint32_t process_set, int reporter) const {
  if (reporter == kSelf) return rank_;
  const ProcessSetInfo* set = catalog_.process_set(process_set);
  const Absence& members = set->children[static_cast<std::size_t>(reporter)];
  return members.count > 0 ? members.first_rank : first_child_ + reporter;
}

void Readiness::add_join(std::uint32_t process_set, int reporter, std::int32_t last_rank) {
  const ProcessSetInfo* set = catalog_.process_set(process_set);
  Joins& joins = joins_[process_set];
  if ((joins.reporters & bit(reporter)) != 0) return;
  joins.reporters |= bit(reporter);
  joins.last_rank = last_rank;

  // Ranks that have joined no longer keep the others waiting.
  std::vector<std::uint32_t> ids;
  for (const auto& [id, entry] : by_id_) {
    if (entry.process_set == process_set && is_complete(entry)) ids.push_back(id);
  }
  for (const std::uint32_t id : ids) finish(id, std::move(by_id_.extract(id).mapped()));
  std::vector<Key> keys;
  for (const auto& [key, entry] : by_key_) {
    if (entry.process_set == process_set && is_complete(entry)) keys.push_back(key);
  }
  for (const Key& key : keys) finish(std::nullopt, std::move(by_key_.extract(key).mapped()));

  if ((set->reporters & ~joins.reporters) == 0) {
    complete_joins_.push_back({process_set, joins.last_rank});
  }
}

bool Readiness::has_joined(std::uint32_t process_set, int reporter) const {
  const auto found = joins_.find(process_set);
  return found != joins_.end() && (found->second.reporters & bit(reporter)) != 0;
}

void Readiness::clear_joins(std::uint32_t process_set) { joins_.erase(process_set); }

void Readiness::forget(std::uint32_t first, std::uint32_t count) {
  by_id_.erase(by_id_.lower_bound(first), by_id_.lower_bound(first + count));
  std::erase_if(complete_, [=](const CompleteOperation& operation) {
    return operation.id && *operation.id >= first && *operation.id < first + count;
  });
}

void Readiness::forget_process_set(std::uint32_t process_set) {
  const auto belongs = [process_set](const auto& item) {
    return item.second.process_set == process_set;
  };
  std::erase_if(by_id_, belongs);
  std::erase_if(by_key_, belongs);
  joins_.erase(process_set);
}

void Readiness::forget_all() {
  by_id_.clear();
  by_key_.clear();
  joins_.clear();
  complete_.clear();
  complete_joins_.clear();
}

std::vector<CompleteOperation> Readiness::take_complete() { return std::exchange(complete_, {}); }

std::vector<JoinAnnouncement> Readiness::take_joins() { return std::exchange(complete_joins_, {}); }

}  // namespace ringleader::protocol
