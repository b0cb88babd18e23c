// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/protocol/catalog.h>

#include <algorithm>
#include <numeric>
#include <string>

namespace ringleader::protocol {
namespace {

/// No more ids than this are given out, so that a broken peer cannot make the table huge.
constexpr std::uint32_t kIdsMax = 1 << 24;

Status unknown(const char* what, std::uint64_t id) {
  return Status(Code::bad_message,
                std::string("the log refers to an unknown ") + what + " " + std::to_string(id));
}

template <typename T>
std::uint32_t first_empty(const std::vector<std::optional<T>>& slots) {
  const auto empty = std::find(slots.begin(), slots.end(), std::nullopt);
  return static_cast<std::uint32_t>(empty - slots.begin());
}

template <typename T>
const T* lookup(const std::vector<std::optional<T>>& slots, std::uint32_t id) {
  return id < slots.size() && slots[id] ? &*slots[id] : nullptr;
}

template <typename T>
bool operator==(const std::optional<T>& value, std::nullopt_t) {
  return !value.has_value();
}

}  // namespace

Catalog::Catalog(const Tree& tree) : tree_(tree) { process_sets_.emplace_back(make_set({})); }

Status Catalog::apply(const LogEntry& entry) {
  ++log_length_;
  return std::visit([this](const auto& e) { return apply_entry(e); }, entry);
}

ProcessSetInfo Catalog::make_set(std::vector<std::int32_t> ranks) {
  ProcessSetInfo set;
  set.channel = next_channel_++;
  set.ranks = std::move(ranks);
  set.children.resize(static_cast<std::size_t>(tree_.child_count()));
  if (set.ranks.empty()) {
    set.size = tree_.size;
    set.member = true;
    for (int i = 0; i < tree_.child_count(); ++i) {
      set.children[static_cast<std::size_t>(i)] = {tree_.subtree_size(i), tree_.child(i)};
    }
  } else {
    set.size = static_cast<int>(set.ranks.size());
    for (const std::int32_t rank : set.ranks) {
      if (rank == tree_.rank) set.member = true;
      const int child = tree_.child_towards(rank);
      if (child < 0) continue;
      Absence& members = set.children[static_cast<std::size_t>(child)];
      if (members.count++ == 0) members.first_rank = rank;
    }
  }
  for (std::size_t i = 0; i < set.children.size(); ++i) {
    if (set.children[i].count > 0) set.reporters |= std::uint64_t{1} << i;
  }
  if (set.member) set.reporters |= std::uint64_t{1} << kSelf;
  return set;
}

Status Catalog::apply_entry(const DefineEntry& entry) {
  if (entry.id > ids_.size() || entry.id >= kIdsMax) return unknown("id", entry.id);
  if (process_set(entry.request->process_set) == nullptr) {
    return unknown("process set", entry.request->process_set);
  }
  if (entry.id == ids_.size()) {
    add_id();
  } else {
    std::erase(free_ids_, entry.id);
  }
  forget_name(entry.id);
  Definition& definition = ids_[entry.id];
  definition = {entry.request, std::nullopt, 0, log_length_};
  const KeyView key = key_of(*entry.request);
  if (entry.keep && !ids_by_key_.find(key, keys())) ids_by_key_.insert(key, entry.id, keys());
  return Status();
}

Status Catalog::apply_entry(const SetEntry& entry) {
  if (entry.id > process_sets_.size() || process_set(entry.id) != nullptr) {
    return unknown("process set", entry.id);
  }
  const bool in_range = std::all_of(entry.ranks.begin(), entry.ranks.end(),
                                    [this](int rank) { return rank >= 0 && rank < tree_.size; });
  if (!in_range || entry.ranks.empty() ||
      !std::is_sorted(entry.ranks.begin(), entry.ranks.end(), std::less_equal<>())) {
    return Status(Code::bad_message, "the log makes a process set of ranks that do not exist");
  }
  if (entry.id == process_sets_.size()) process_sets_.emplace_back();
  process_sets_[entry.id] = make_set(entry.ranks);
  return Status();
}

Status Catalog::apply_entry(const SetRemovedEntry& entry) {
  if (entry.id == 0 || process_set(entry.id) == nullptr) return unknown("process set", entry.id);
  for (std::uint32_t id = 0; id < ids_.size(); ++id) {
    if (ids_[id].defined() && ids_[id].request->process_set == entry.id) undefine(id);
  }
  for (auto& plan : plans_) {
    if (plan && plan->process_set() == entry.id) plan.reset();
  }
  process_sets_[entry.id].reset();
  return Status();
}

Status Catalog::apply_entry(const PlanEntry& entry) {
  if (entry.plan > plans_.size() || plan(entry.plan) != nullptr) return unknown("plan", entry.plan);
  if (entry.first_id > ids_.size() || process_set(entry.request->process_set) == nullptr) {
    return unknown("id", entry.first_id);
  }
  if (first_unplannable(*entry.request) != nullptr) {
    return Status(Code::bad_message, "the log plans what cannot be");
  }
  PlanInfo info{next_channel_++, entry.first_id, entry.request};
  for (std::uint32_t i = 0; i < info.size(); ++i) {
    const std::uint32_t id = entry.first_id + i;
    if (find(id) != nullptr || id >= kIdsMax) return unknown("free id", id);
    if (id == ids_.size()) {
      add_id();
    } else {
      std::erase(free_ids_, id);
    }
    ids_[id] = {info.request, entry.plan, i, log_length_};
  }
  if (entry.plan == plans_.size()) plans_.emplace_back();
  plans_[entry.plan] = std::move(info);
  return Status();
}

Status Catalog::apply_entry(const PlanReleasedEntry& entry) {
  const PlanInfo* released = plan(entry.plan);
  if (released == nullptr) return unknown("plan", entry.plan);
  for (std::uint32_t i = 0; i < released->size(); ++i) undefine(released->first_id + i);
  plans_[entry.plan].reset();
  return Status();
}

Status Catalog::apply_entry(const ArmEntry& entry) {
  const PlanInfo* armed = plan(entry.plan);
  if (armed == nullptr) return unknown("plan", entry.plan);
  std::vector<bool> seen(armed->size());
  for (const auto& batch : entry.batches) {
    for (const std::uint32_t parameter : batch) {
      if (parameter >= armed->size() || seen[parameter]) return unknown("parameter", parameter);
      seen[parameter] = true;
    }
  }
  if (std::find(seen.begin(), seen.end(), false) != seen.end()) {
    return Status(Code::bad_message, "the log arms a plan without all of its parameters");
  }
  for (std::uint32_t i = 0; i < armed->size(); ++i) {
    ids_[armed->first_id + i].changed_at = log_length_;
  }
  return Status();
}

void Catalog::undefine(std::uint32_t id) {
  forget_name(id);
  ids_[id] = {nullptr, std::nullopt, 0, log_length_};
  free_ids_.push_back(id);
}

void Catalog::add_id() {
  if (ids_.size() == ids_.capacity()) ids_.reserve(ids_.size() + ids_.size() / 4 + 4);
  ids_.emplace_back();
}

/// The name that is announced by this id, if there is one, has no id from now on.
void Catalog::forget_name(std::uint32_t id) {
  if (!ids_[id].defined()) return;
  const KeyView key = key_of(*ids_[id].request);
  if (ids_by_key_.find(key, keys()) == id) ids_by_key_.erase(key, keys());
}

const ProcessSetInfo* Catalog::process_set(std::uint32_t id) const {
  return lookup(process_sets_, id);
}

const PlanInfo* Catalog::plan(std::uint32_t id) const { return lookup(plans_, id); }

const Definition* Catalog::find(std::uint32_t id) const {
  return id < ids_.size() && ids_[id].defined() ? &ids_[id] : nullptr;
}

std::optional<std::uint32_t> Catalog::id_of(const KeyView& key) const {
  return ids_by_key_.find(key, keys());
}

std::uint64_t Catalog::changed_at(std::uint32_t id) const {
  return id < ids_.size() ? ids_[id].changed_at : 0;
}

const TensorSpec* Catalog::tensor(std::uint32_t id, std::uint32_t index) const {
  const Definition* definition = find(id);
  if (definition == nullptr) return nullptr;
  const std::size_t position = definition->plan ? definition->parameter : index;
  const auto& tensors = definition->request->tensors;
  return position < tensors.size() ? &tensors[position] : nullptr;
}

const TensorSpec* Catalog::first_unplannable(const Request& plan) const {
  for (const TensorSpec& tensor : plan.tensors) {
    const bool pairs =
        tensor.op != Op::exchange || is_pairing(tensor.to, ranks_of(plan.process_set));
    if (!is_plannable(tensor) || !pairs) return &tensor;
  }
  return nullptr;
}

std::uint32_t Catalog::free_id() const {
  return free_ids_.empty() ? static_cast<std::uint32_t>(ids_.size()) : free_ids_.back();
}

std::uint32_t Catalog::free_id_range(std::size_t count) const {
  std::size_t run = 0;
  for (std::size_t id = 0; id < ids_.size(); ++id) {
    run = ids_[id].defined() ? 0 : run + 1;
    if (run == count) return static_cast<std::uint32_t>(id + 1 - count);
  }
  return static_cast<std::uint32_t>(ids_.size() - run);
}

std::uint32_t Catalog::free_process_set() const { return first_empty(process_sets_); }

std::uint32_t Catalog::free_plan() const { return first_empty(plans_); }

std::vector<int> Catalog::ranks_of(std::uint32_t id) const {
  const ProcessSetInfo* set = process_set(id);
  if (set == nullptr) return {};
  if (!set->ranks.empty()) return {set->ranks.begin(), set->ranks.end()};
  std::vector<int> all(static_cast<std::size_t>(set->size));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

}  // namespace ringleader::protocol
