// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/protocol/plan_replay.h>

#include <fmt/core.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace ringleader::protocol {

Status PlanReplay::submit(Token token, std::uint32_t plan, std::uint32_t index,
                          SourceLocation where) {
  const auto found = plans_.find(plan);
  const PlanInfo* info = catalog_.plan(plan);
  if (found == plans_.end() || info == nullptr) {
    return Status(Code::invalid_argument, fmt::format("there is no plan {}", plan));
  }
  if (launches_.has_joined(info->process_set())) {
    return Status(Code::joined, describe(*info->request) + ": this rank has joined");
  }
  PlanState& state = found->second;
  if (const Status status = state.submit(index, token); !status.ok()) {
    return Status(status.code(), describe(*info->request) + ": " + status.message());
  }
  LocalOperation operation;
  operation.parameter = PlanParameter{plan, index};
  operation.where = where;
  launches_.add(token, std::move(operation));
  if (state.negotiated()) {
    announce(plan, index);
  } else {
    run(plan);
  }
  return Status();
}

/// What was announced for the plan but not decided is dropped everywhere. On the rank that
/// announced it, it is ready for the replay.
void PlanReplay::arm(std::uint32_t plan, std::vector<std::vector<std::uint32_t>> batches) {
  const PlanInfo* info = catalog_.plan(plan);
  readiness_.forget(info->first_id, info->size());
  plans_[plan].arm(std::move(batches));
  if (launches_.has_joined(info->process_set())) {
    leave(info->process_set());
  } else {
    run(plan);
  }
}

void PlanReplay::freeze(std::uint32_t plan) {
  PlanState& state = plans_[plan];
  state.freeze();
  if (catalog_.process_set(catalog_.plan(plan)->process_set())->member) {
    state.answer(kSelf, state.position(), state.position());
  }
}

Status PlanReplay::cut(std::uint32_t plan, std::uint64_t end, std::uint64_t void_from) {
  if (plans_.count(plan) == 0 || !plans_[plan].frozen()) {
    return Status(Code::bad_message, "the log cuts a plan that is not frozen");
  }
  PlanState& state = plans_[plan];
  // No member runs more than a step ahead of another: it needs the results of its last step.
  if (end > state.position() + 2 * state.batches_per_step() + 1 &&
      catalog_.process_set(catalog_.plan(plan)->process_set())->member) {
    return Status(Code::bad_message, "the log cuts a plan where no member can be");
  }
  state.cut(end, void_from);
  launches_.settle_cut(plan);
  run(plan);
  return Status();
}

void PlanReplay::leave(std::uint32_t process_set) {
  for (auto& [plan, state] : plans_) {
    const PlanInfo* info = catalog_.plan(plan);
    if (info == nullptr || info->process_set() != process_set) continue;
    // What this rank has released it has no steps left in.
    if (launches_.operations().removes(RequestKind::release_plan, plan)) continue;
    if (state.armed()) {
      if (state.first_leave()) leaving_.push_back(plan);
    } else {
      run(plan);
    }
  }
}

void PlanReplay::leave_for_child(std::uint32_t plan) {
  if (plans_[plan].first_leave()) leaving_.push_back(plan);
}

bool PlanReplay::any_frozen() const {
  return std::any_of(plans_.begin(), plans_.end(),
                     [](const auto& item) { return item.second.frozen(); });
}

std::vector<PositionAnnouncement> PlanReplay::take_answers() {
  std::vector<PositionAnnouncement> answers;
  for (auto& [plan, state] : plans_) {
    const PlanInfo* info = catalog_.plan(plan);
    if (info == nullptr || !state.frozen()) continue;
    const auto reporters = catalog_.process_set(info->process_set())->reporters;
    if (auto answer = state.take_answer(plan, reporters)) answers.push_back(*answer);
  }
  return answers;
}

std::vector<std::uint32_t> PlanReplay::order_of(std::uint32_t plan) const {
  const std::uint32_t size = catalog_.plan(plan)->size();
  const std::vector<std::uint32_t>& own = plans_.at(plan).order();
  if (own.size() == size) return own;
  std::vector<std::uint32_t> order(size);
  std::iota(order.rbegin(), order.rend(), 0U);
  return order;
}

std::string PlanReplay::describe_step() const {
  for (const auto& [plan, state] : plans_) {
    const PlanInfo* info = catalog_.plan(plan);
    if (info == nullptr || state.step() == 0) continue;
    return fmt::format("in step {} of '{}'", state.step(), short_name(*info->request));
  }
  return "";
}

/// Launches what the plan allows now.
void PlanReplay::run(std::uint32_t plan) {
  const PlanInfo* info = catalog_.plan(plan);
  PlanState& state = plans_[plan];
  if (!catalog_.process_set(info->process_set())->member) {
    state.leave_if_drained();
    return;
  }
  const bool joined = launches_.has_joined(info->process_set());
  while (const auto* batch = state.next_batch(joined || state.is_void(state.position()))) {
    launch(plan, *batch);
    state.launched();
  }
  if (!state.leave_if_drained()) return;
  for (const std::uint32_t index : state.ready_parameters()) announce(plan, index);
}

void PlanReplay::launch(std::uint32_t plan, const std::vector<std::uint32_t>& parameters) {
  const PlanInfo* info = catalog_.plan(plan);
  Launch launch;
  launch.channel = info->channel;
  launch.process_set = info->process_set();
  launch.request = info->request;
  launch.contributors = catalog_.process_set(info->process_set())->size;
  launch.replayed = true;
  launch.items = launches_.spare_items();
  InFlightBatch batch = launches_.spare_batch();
  batch.plan = plan;
  batch.position = plans_[plan].position();
  batch.replayed = true;
  for (const std::uint32_t index : parameters) {
    const Token token = plans_[plan].take(index);
    const TensorSpec& tensor = info->request->tensors[index];
    launch.op = tensor.op;
    launch.root = tensor.root;
    launch.dtype = tensor.dtype;
    launch.items.push_back({token, 0, count_of(tensor.shape), index});
    if (token != kNoToken) batch.tokens.push_back(token);
  }
  launches_.start(std::move(launch), std::move(batch));
}

void PlanReplay::announce(std::uint32_t plan, std::uint32_t index) {
  readiness_.add(catalog_.plan(plan)->first_id + index, kSelf);
}

}  // namespace ringleader::protocol
