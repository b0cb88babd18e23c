// SPDX-License-Identifier: Apache-2.0
//
// Replaying plans: what a rank launches without negotiation.
#include <ringleader/core/protocol/node.h>

#include <utility>

namespace ringleader::protocol {

/// Launches what a plan allows now.
void Node::run_plan(std::uint32_t plan) {
  const PlanInfo* info = catalog_.plan(plan);
  if (!catalog_.process_set(info->process_set())->member) {
    plans_[plan].leave_if_drained();
    return;
  }
  PlanState& state = plans_[plan];
  const bool joined = joins_.count(info->process_set()) != 0;
  while (const auto* batch = state.next_batch(joined || state.is_void(state.position()))) {
    replay_batch(plan, *batch);
    state.launched();
  }
  if (!state.leave_if_drained()) return;
  for (const std::uint32_t index : state.ready_parameters()) announce_parameter(plan, index);
}

void Node::replay_batch(std::uint32_t plan, const std::vector<std::uint32_t>& parameters) {
  const PlanInfo* info = catalog_.plan(plan);
  Launch launch{0,
                info->channel,
                info->process_set(),
                info->request,
                Op::allreduce,
                -1,
                DType::f32,
                catalog_.process_set(info->process_set())->size,
                true,
                {}};
  InFlight in_flight;
  if (!spare_items_.empty()) {
    launch.items.swap(spare_items_.back());
    spare_items_.pop_back();
  }
  if (!spare_in_flight_.empty()) in_flight.tokens.swap(spare_in_flight_.back().mapped().tokens);
  launch.items.clear();
  in_flight.tokens.clear();
  in_flight.plan = plan;
  in_flight.position = plans_[plan].position();
  in_flight.replayed = true;
  for (const std::uint32_t index : parameters) {
    const Token token = plans_[plan].take(index);
    const TensorSpec& tensor = info->request->tensors[index];
    launch.op = tensor.op;
    launch.root = tensor.root;
    launch.dtype = tensor.dtype;
    launch.items.push_back({token, 0, count_of(tensor.shape), index});
    if (token != kNoToken) in_flight.tokens.push_back(token);
  }
  start(std::move(launch), std::move(in_flight));
}

/// This rank has joined: it can no longer follow armed plans and tells the root; what is left of a
/// cut it runs with zeros.
void Node::leave_plans(std::uint32_t process_set) {
  for (auto& [plan, state] : plans_) {
    const PlanInfo* info = catalog_.plan(plan);
    if (info == nullptr || info->process_set() != process_set) continue;
    if (state.armed()) {
      if (state.first_leave()) outgoing_.leaving.push_back(plan);
    } else {
      run_plan(plan);
    }
  }
}

}  // namespace ringleader::protocol
