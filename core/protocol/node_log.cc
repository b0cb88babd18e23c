// SPDX-License-Identifier: Apache-2.0
//
// What each kind of log entry does on a rank. Every rank applies the same entries in the same
// order; what differs is only which operations are its own.
#include <ringleader/core/protocol/mutated.h>
#include <ringleader/core/protocol/node.h>

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace ringleader::protocol {

Status Node::apply(const LogEntry& entry) {
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

Status Node::apply_entry(const DefineEntry&) { return Status(); }

Status Node::apply_entry(const LaunchEntry& entry) {
  const Definition* first = entry.items.empty() ? nullptr : catalog_.find(entry.items[0].id);
  if (first == nullptr) return Status(Code::bad_message, "the log launches an unknown id");
  const std::uint32_t process_set = first->request->process_set;
  const ProcessSetInfo* set = catalog_.process_set(process_set);
  if (set == nullptr) return Status(Code::bad_message, "the log launches in an unknown set");
  if (!set->member) return Status();

  Launch launch{0,
                entry.channel,
                process_set,
                first->request,
                Op::allreduce,
                -1,
                DType::f32,
                set->size - entry.absent,
                false,
                {}};
  InFlight in_flight;
  in_flight.plan = first->plan;
  for (const BatchItem& item : entry.items) {
    const Definition* definition = catalog_.find(item.id);
    if (definition == nullptr) return Status(Code::bad_message, "the log launches an unknown id");
    const Token token = definition->plan ? plans_[*definition->plan].take(definition->parameter)
                                         : operations_.find(key_of(*definition->request));
    if (token == kNoToken && joins_.count(process_set) == 0) {
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
      if (token != kNoToken) in_flight.tokens.push_back(token);
    }
  }
  start(std::move(launch), std::move(in_flight));
  return Status();
}

Status Node::apply_entry(const CompleteEntry& entry) {
  const bool dropped = !entry.status.ok() && tree_.rank % 2 == 1;
  if (dropped && mutated(Mutation::drop_after_error)) return Status();
  complete(operations_.find(entry.key), entry.status);
  return Status();
}

Status Node::apply_entry(const SetEntry& entry) {
  complete(operations_.find(entry.key), Status(), entry.id);
  return Status();
}

Status Node::apply_entry(const SetRemovedEntry& entry) {
  const ProcessSetInfo* set = catalog_.process_set(entry.id);
  if (entry.id == 0 || set == nullptr) {
    return Status(Code::bad_message, "the log removes an unknown process set");
  }
  readiness_.forget_process_set(entry.id);
  if (set->member) actions_.emplace_back(ChannelClosed{set->channel});
  for (std::uint32_t plan = 0; plan < catalog_.plan_count(); ++plan) {
    const PlanInfo* info = catalog_.plan(plan);
    if (info == nullptr || info->process_set() != entry.id) continue;
    if (set->member) actions_.emplace_back(ChannelClosed{info->channel});
    plans_.erase(plan);
  }
  complete(operations_.find(entry.key), Status(), entry.id);
  return Status();
}

Status Node::apply_entry(const PlanEntry& entry) {
  std::vector<std::int32_t> phases;
  for (const TensorSpec& tensor : entry.request->tensors) phases.push_back(tensor.phase);
  plans_[entry.plan] = PlanState(phases);
  complete(operations_.find(key_of(*entry.request)), Status(), entry.plan);
  return Status();
}

Status Node::apply_entry(const PlanReleasedEntry& entry) {
  const PlanInfo* info = catalog_.plan(entry.plan);
  if (info == nullptr) return Status(Code::bad_message, "the log releases an unknown plan");
  if (catalog_.process_set(info->process_set())->member) {
    actions_.emplace_back(ChannelClosed{info->channel});
  }
  readiness_.forget(info->first_id, info->size());
  plans_.erase(entry.plan);
  complete(operations_.find(entry.key), Status(), entry.plan);
  return Status();
}

Status Node::apply_entry(const JoinedEntry& entry) {
  readiness_.clear_joins(entry.process_set);
  const auto own = joins_.find(entry.process_set);
  if (own == joins_.end()) return Status();
  const Token token = own->second;
  joins_.erase(own);
  complete(token, Status(), entry.last_rank);
  return Status();
}

/// What was announced for the plan and not decided is dropped everywhere; on the rank that
/// announced it, it is ready for the replay.
Status Node::apply_entry(const ArmEntry& entry) {
  const PlanInfo* info = catalog_.plan(entry.plan);
  readiness_.forget(info->first_id, info->size());
  auto batches = entry.batches;
  if (tree_.rank % 2 == 1 && mutated(Mutation::unordered_plan)) {
    std::reverse(batches.begin(), batches.end());
  }
  plans_[entry.plan].arm(std::move(batches));
  if (joins_.count(info->process_set()) != 0) {
    leave_plans(info->process_set());
  } else {
    run_plan(entry.plan);
  }
  return Status();
}

Status Node::apply_entry(const FreezeEntry& entry) {
  const PlanInfo* info = catalog_.plan(entry.plan);
  if (info == nullptr) return Status(Code::bad_message, "the log freezes an unknown plan");
  PlanState& state = plans_[entry.plan];
  state.freeze();
  if (catalog_.process_set(info->process_set())->member) {
    state.answer(kSelf, state.position(), state.position());
  }
  return Status();
}

Status Node::apply_entry(const CutEntry& entry) {
  if (plans_.count(entry.plan) == 0 || !plans_[entry.plan].frozen()) {
    return Status(Code::bad_message, "the log cuts a plan that is not frozen");
  }
  PlanState& state = plans_[entry.plan];
  // No member runs more than a step ahead of another: it needs the results of its last one.
  if (entry.end > state.position() + 2 * state.batches_per_step() + 1 &&
      catalog_.process_set(catalog_.plan(entry.plan)->process_set())->member) {
    return Status(Code::bad_message, "the log cuts a plan where no member can be");
  }
  state.cut(entry.end, entry.void_from);
  // Batches that ran while the plan was frozen have waited to learn whether they count.
  std::vector<std::uint64_t> settled;
  for (auto& [id, in_flight] : in_flight_) {
    const bool ours = in_flight.replayed && in_flight.plan == entry.plan;
    if (ours && in_flight.ran && !state.is_void(in_flight.position)) settled.push_back(id);
  }
  for (const std::uint64_t id : settled) settle(in_flight_.extract(id).mapped());
  run_plan(entry.plan);
  return Status();
}

Status Node::apply_entry(const ShutdownEntry& entry) {
  end_everything(entry.reason);
  stopped_ = entry.reason;
  return Status();
}

Status Node::apply_entry(const InquiryEntry& entry) {
  watch_.open(entry.attempt);
  inquiry_at_ = catalog_.log_length();
  forwarded_ = Alarm::none;
  return Status();
}

Status Node::apply_entry(const ResetEntry& entry) {
  void_before_ = catalog_.log_length();
  actions_.emplace_back(Reset{entry.reason});
  readiness_.forget_all();
  joins_.clear();
  end_everything(entry.reason);
  for (auto& [plan, state] : plans_) state.abandon_step();
  return Status();
}

/// What is not decided ends now; batches that lack some rank's data, when they have run.
void Node::end_everything(const Status& reason) {
  std::vector<std::uint64_t> ran;
  for (auto& [id, in_flight] : in_flight_) {
    if (in_flight.replayed && plans_[*in_flight.plan].is_void(in_flight.position)) {
      in_flight.verdict = reason;
    }
    if (in_flight.ran) ran.push_back(id);
  }
  for (const std::uint64_t id : ran) settle(in_flight_.extract(id).mapped());
  for (const Token token : operations_.tokens()) {
    const LocalOperation* operation = operations_.find(token);
    if (operation != nullptr && !operation->decided) complete(token, reason);
  }
}

void Node::start(Launch launch, InFlight in_flight) {
  launch.id = next_launch_++;
  for (const Token token : in_flight.tokens) operations_.find(token)->decided = true;
  if (spare_in_flight_.empty()) {
    in_flight_.emplace(launch.id, std::move(in_flight));
  } else {
    auto& spare = spare_in_flight_.back();
    spare.key() = launch.id;
    spare.mapped() = std::move(in_flight);
    in_flight_.insert(std::move(spare));
    spare_in_flight_.pop_back();
  }
  watch_.changed();
  actions_.emplace_back(std::move(launch));
}

void Node::finished(std::uint64_t launch_id, const Status& status) {
  const auto found = in_flight_.find(launch_id);
  if (found == in_flight_.end()) return;  // given up by lost()
  InFlight& in_flight = found->second;
  in_flight.ran = true;
  in_flight.status = status;
  if (in_flight.replayed && in_flight.verdict.ok() && !stopped_) {
    const PlanState& state = plans_[*in_flight.plan];
    if (state.frozen() || state.is_void(in_flight.position)) return;  // until the cut, the end
  }
  auto ended = in_flight_.extract(found);
  settle(ended.mapped());
  if (spare_in_flight_.size() < kSpares) spare_in_flight_.push_back(std::move(ended));
}

void Node::settle(const InFlight& in_flight) {
  const Status status = in_flight.verdict.ok() ? in_flight.status : in_flight.verdict;
  for (const Token token : in_flight.tokens) {
    LocalOperation* operation = operations_.find(token);
    if (!status.ok() && !operation->failure) operation->failure = std::make_unique<Status>(status);
    if (--operation->tensors_left > 0) continue;
    complete(token, operation->failure ? *operation->failure : Status());
  }
}

void Node::complete(Token token, Status status, std::int64_t value) {
  const LocalOperation* operation = operations_.find(token);
  if (operation == nullptr) return;  // another rank's operation
  if (operation->parameter) {
    const auto plan = plans_.find(operation->parameter->plan);
    if (plan != plans_.end()) plan->second.completed(operation->parameter->index);
  }
  operations_.erase(token);
  if (mutated(Mutation::complete_twice)) actions_.emplace_back(Completion{token, status, value});
  watch_.changed();
  actions_.emplace_back(Completion{token, std::move(status), value});
}

}  // namespace ringleader::protocol
