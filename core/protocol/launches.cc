// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/protocol/launches.h>

#include <memory>
#include <utility>

namespace ringleader::protocol {

void Launches::add(Token token, LocalOperation operation) {
  operations_.add(token, std::move(operation));
  changed_ = true;
}

void Launches::end_join(std::uint32_t process_set, std::int32_t last_rank) {
  const auto own = joins_.find(process_set);
  if (own == joins_.end()) return;
  const Token token = own->second;
  joins_.erase(own);
  complete(token, Status(), last_rank);
}

std::vector<LaunchItem> Launches::spare_items() {
  std::vector<LaunchItem> items;
  if (!spare_items_.empty()) {
    items.swap(spare_items_.back());
    spare_items_.pop_back();
  }
  items.clear();
  return items;
}

InFlightBatch Launches::spare_batch() {
  InFlightBatch batch;
  if (!spare_in_flight_.empty()) batch.tokens.swap(spare_in_flight_.back().mapped().tokens);
  batch.tokens.clear();
  return batch;
}

void Launches::start(Launch launch, InFlightBatch batch) {
  launch.id = next_launch_++;
  for (const Token token : batch.tokens) operations_.find(token)->decided = true;
  if (spare_in_flight_.empty()) {
    in_flight_.emplace(launch.id, std::move(batch));
  } else {
    auto& spare = spare_in_flight_.back();
    spare.key() = launch.id;
    spare.mapped() = std::move(batch);
    in_flight_.insert(std::move(spare));
    spare_in_flight_.pop_back();
  }
  changed_ = true;
  actions_.emplace_back(std::move(launch));
}

void Launches::finished(std::uint64_t launch_id, const Status& status, bool final) {
  const auto found = in_flight_.find(launch_id);
  if (found == in_flight_.end()) return;  // given up by fail()
  InFlightBatch& batch = found->second;
  batch.ran = true;
  batch.status = status;
  if (batch.replayed && batch.verdict.ok() && !final) {
    const PlanState& state = plans_[*batch.plan];
    if (state.frozen() || state.is_void(batch.position)) return;
  }
  auto ended = in_flight_.extract(found);
  settle(ended.mapped());
  if (spare_in_flight_.size() < kSpares) spare_in_flight_.push_back(std::move(ended));
}

void Launches::settle_cut(std::uint32_t plan) {
  std::vector<std::uint64_t> settled;
  for (const auto& [id, batch] : in_flight_) {
    const bool ours = batch.replayed && batch.plan == plan;
    if (ours && batch.ran && !plans_[plan].is_void(batch.position)) settled.push_back(id);
  }
  settle_all(settled);
}

void Launches::end_undecided(const Status& reason) {
  std::vector<std::uint64_t> ran;
  for (auto& [id, batch] : in_flight_) {
    if (batch.replayed && plans_[*batch.plan].is_void(batch.position)) batch.verdict = reason;
    if (batch.ran) ran.push_back(id);
  }
  settle_all(ran);
  joins_.clear();
  for (const Token token : operations_.tokens()) {
    const LocalOperation* operation = operations_.find(token);
    if (operation != nullptr && !operation->decided) complete(token, reason);
  }
}

void Launches::fail(const Status& reason) {
  in_flight_.clear();
  for (const Token token : operations_.tokens()) complete(token, reason);
}

void Launches::settle_all(const std::vector<std::uint64_t>& ids) {
  for (const std::uint64_t id : ids) settle(in_flight_.extract(id).mapped());
}

void Launches::settle(const InFlightBatch& batch) {
  const Status status = batch.verdict.ok() ? batch.status : batch.verdict;
  for (const Token token : batch.tokens) {
    LocalOperation* operation = operations_.find(token);
    if (!status.ok() && !operation->failure) operation->failure = std::make_unique<Status>(status);
    if (--operation->tensors_left > 0) continue;
    complete(token, operation->failure ? *operation->failure : Status());
  }
}

void Launches::complete(Token token, Status status, std::int64_t value) {
  const LocalOperation* operation = operations_.find(token);
  if (operation == nullptr) return;
  if (operation->parameter) {
    const auto plan = plans_.find(operation->parameter->plan);
    if (plan != plans_.end()) plan->second.completed(operation->parameter->index);
  }
  operations_.erase(token);
  changed_ = true;
  actions_.emplace_back(Completion{token, std::move(status), value});
}

std::vector<Action> Launches::take_actions(std::vector<Action> reused) {
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

}  // namespace ringleader::protocol
