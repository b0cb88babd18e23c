// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/protocol/log_reader.h>

#include <fmt/core.h>

#include <utility>

namespace ringleader::protocol {

Status LogReader::apply(const LogEntry& entry) {
  // Entries that remove something are applied here first, while it can still be looked up.
  const bool removes = std::holds_alternative<SetRemovedEntry>(entry) ||
                       std::holds_alternative<PlanReleasedEntry>(entry);
  const auto here = [&] {
    return std::visit([this](const auto& e) { return apply_entry(e); }, entry);
  };
  if (removes) {
    if (const Status status = here(); !status.ok()) return status;
    return catalog_.apply(entry);
  }
  if (const Status status = catalog_.apply(entry); !status.ok()) return status;
  return here();
}

void LogReader::complete(const KeyView& key, const Status& status, std::int64_t value) {
  launches_.complete(launches_.operations().find(key), status, value);
}

Status LogReader::apply_entry(const DefineEntry&) { return Status(); }

Status LogReader::apply_entry(const LaunchEntry& entry) {
  const Definition* first = entry.items.empty() ? nullptr : catalog_.find(entry.items[0].id);
  if (first == nullptr) return Status(Code::bad_message, "the log launches an unknown id");
  const std::uint32_t process_set = first->request->process_set;
  const ProcessSetInfo* set = catalog_.process_set(process_set);
  if (set == nullptr) return Status(Code::bad_message, "the log launches in an unknown set");
  if (!set->member) return Status();

  Launch launch;
  launch.channel = entry.channel;
  launch.process_set = process_set;
  launch.request = first->request;
  launch.contributors = set->size - entry.absent;
  InFlightBatch batch;
  batch.plan = first->plan;
  for (const BatchItem& item : entry.items) {
    const Definition* definition = catalog_.find(item.id);
    if (definition == nullptr) return Status(Code::bad_message, "the log launches an unknown id");
    const Token token = definition->plan
                            ? plans_[*definition->plan].take(definition->parameter)
                            : launches_.operations().find(key_of(*definition->request));
    if (token == kNoToken && !launches_.has_joined(process_set)) {
      return Status(Code::bad_message,
                    fmt::format("the log launches what this rank has not submitted: {}",
                                describe(*definition->request)));
    }
    for (std::uint32_t i = 0; i < item.tensor_count; ++i) {
      const TensorSpec* tensor = catalog_.tensor(item.id, item.first_tensor + i);
      if (tensor == nullptr) return Status(Code::bad_message, "the log launches no tensor");
      launch.op = verb_of(*definition->request, *tensor);
      launch.root = root_of(*definition->request, *tensor);
      launch.dtype = tensor->dtype;
      launch.items.push_back(
          {token, item.first_tensor + i, count_of(tensor->shape), definition->parameter});
      if (token != kNoToken) batch.tokens.push_back(token);
    }
  }
  launches_.start(std::move(launch), std::move(batch));
  return Status();
}

Status LogReader::apply_entry(const CompleteEntry& entry) {
  complete(entry.key, entry.status);
  return Status();
}

Status LogReader::apply_entry(const SetEntry& entry) {
  complete(entry.key, Status(), entry.id);
  return Status();
}

Status LogReader::apply_entry(const SetRemovedEntry& entry) {
  const ProcessSetInfo* set = catalog_.process_set(entry.id);
  if (entry.id == 0 || set == nullptr) {
    return Status(Code::bad_message, "the log removes an unknown process set");
  }
  readiness_.forget_process_set(entry.id);
  if (set->member) launches_.act(ChannelClosed{set->channel});
  for (std::uint32_t plan = 0; plan < catalog_.plan_count(); ++plan) {
    const PlanInfo* info = catalog_.plan(plan);
    if (info == nullptr || info->process_set() != entry.id) continue;
    if (set->member) launches_.act(ChannelClosed{info->channel});
    plans_.erase(plan);
  }
  complete(entry.key, Status(), entry.id);
  return Status();
}

Status LogReader::apply_entry(const PlanEntry& entry) {
  std::vector<std::int32_t> phases;
  for (const TensorSpec& tensor : entry.request->tensors) phases.push_back(tensor.phase);
  plans_[entry.plan] = PlanState(phases);
  complete(key_of(*entry.request), Status(), entry.plan);
  return Status();
}

Status LogReader::apply_entry(const PlanReleasedEntry& entry) {
  const PlanInfo* info = catalog_.plan(entry.plan);
  if (info == nullptr) return Status(Code::bad_message, "the log releases an unknown plan");
  if (catalog_.process_set(info->process_set())->member) {
    launches_.act(ChannelClosed{info->channel});
  }
  readiness_.forget(info->first_id, info->size());
  plans_.erase(entry.plan);
  complete(entry.key, Status(), entry.plan);
  return Status();
}

Status LogReader::apply_entry(const JoinedEntry& entry) {
  readiness_.clear_joins(entry.process_set);
  launches_.end_join(entry.process_set, entry.last_rank);
  return Status();
}

Status LogReader::apply_entry(const ArmEntry& entry) {
  replay_.arm(entry.plan, entry.batches);
  return Status();
}

Status LogReader::apply_entry(const FreezeEntry& entry) {
  if (catalog_.plan(entry.plan) == nullptr) {
    return Status(Code::bad_message, "the log freezes an unknown plan");
  }
  replay_.freeze(entry.plan);
  return Status();
}

Status LogReader::apply_entry(const CutEntry& entry) {
  return replay_.cut(entry.plan, entry.end, entry.void_from);
}

Status LogReader::apply_entry(const ShutdownEntry& entry) {
  launches_.end_undecided(entry.reason);
  stopped_ = entry.reason;
  return Status();
}

Status LogReader::apply_entry(const InquiryEntry& entry) {
  inquiry_.open(entry.attempt, catalog_.log_length());
  return Status();
}

Status LogReader::apply_entry(const ResetEntry& entry) {
  void_before_ = catalog_.log_length();
  launches_.act(Reset{entry.reason});
  readiness_.forget_all();
  launches_.end_undecided(entry.reason);
  for (auto& [plan, state] : plans_) state.abandon_step();
  return Status();
}

}  // namespace ringleader::protocol
