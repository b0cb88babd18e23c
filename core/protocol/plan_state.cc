// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/protocol/plan_state.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

namespace ringleader::protocol {

PlanState::PlanState(const std::vector<std::int32_t>& phases)
    : ready_(phases.size()), submitted_(phases.size()), in_flight_(phases.size()) {
  const std::set<std::int32_t> distinct(phases.begin(), phases.end());
  sizes_.resize(distinct.size());
  for (const std::int32_t phase : phases) {
    const auto place = std::distance(distinct.begin(), distinct.find(phase));
    phases_.push_back(static_cast<std::size_t>(place));
    ++sizes_[phases_.back()];
  }
  left_ = sizes_;
  order_.reserve(phases.size());
}

Status PlanState::submit(std::uint32_t index, Token token) {
  if (index >= ready_.size()) {
    return Status(Code::invalid_argument, "the plan has no parameter " + std::to_string(index));
  }
  if (submitted_[index] || in_flight_[index]) {
    return Status(Code::duplicate_name,
                  "parameter " + std::to_string(index) + " was submitted twice in one step");
  }
  const std::size_t phase = phases_[index];
  if (phase > 0 && left_[phase - 1] > 0) {
    return Status(Code::invalid_argument, "parameter " + std::to_string(index) +
                                              " was submitted before those of an earlier phase");
  }
  --left_[phase];
  ready_[index] = token;
  in_flight_[index] = true;
  ++in_flight_count_;
  submitted_[index] = true;
  if (order_.size() == submitted_count_) order_.push_back(index);
  if (++submitted_count_ == submitted_.size()) {
    start_step();
    ++step_;
  }
  return Status();
}

void PlanState::completed(std::uint32_t index) {
  ready_[index] = kNoToken;
  in_flight_[index] = false;
  --in_flight_count_;
}

Token PlanState::take(std::uint32_t index) { return std::exchange(ready_[index], kNoToken); }

std::vector<std::uint32_t> PlanState::ready_parameters() const {
  std::vector<std::uint32_t> indices;
  for (std::uint32_t i = 0; i < ready_.size(); ++i) {
    if (ready_[i] != kNoToken) indices.push_back(i);
  }
  return indices;
}

void PlanState::arm(std::vector<std::vector<std::uint32_t>> batches) {
  phase_ = Phase::armed;
  batches_ = std::move(batches);
  position_ = 0;
  void_from_ = UINT64_MAX;
  leave_sent_ = false;
}

void PlanState::freeze() {
  phase_ = Phase::frozen;
  answered_ = 0;
  least_ = UINT64_MAX;
  most_ = 0;
}

void PlanState::cut(std::uint64_t end, std::uint64_t void_from) {
  phase_ = Phase::draining;
  end_ = end;
  void_from_ = void_from;
}

const std::vector<std::uint32_t>* PlanState::next_batch(bool with_zeros) const {
  const bool draining = phase_ == Phase::draining && position_ < end_;
  if (phase_ != Phase::armed && !draining) return nullptr;
  const auto& batch = batches_[position_ % batches_.size()];
  if (draining && with_zeros) return &batch;
  const bool ready = std::all_of(batch.begin(), batch.end(),
                                 [this](std::uint32_t i) { return ready_[i] != kNoToken; });
  return ready ? &batch : nullptr;
}

void PlanState::abandon_step() {
  phase_ = Phase::negotiated;
  void_from_ = UINT64_MAX;
  if (submitted_count_ > 0) ++step_;
  start_step();
  if (order_.size() < submitted_.size()) order_.clear();
}

void PlanState::start_step() {
  std::fill(submitted_.begin(), submitted_.end(), false);
  submitted_count_ = 0;
  left_ = sizes_;
}

void PlanState::launched() { ++position_; }

bool PlanState::leave_if_drained() {
  if (phase_ != Phase::draining || position_ < end_) return false;
  phase_ = Phase::negotiated;
  return true;
}

void PlanState::answer(int reporter, std::uint64_t least, std::uint64_t most) {
  answered_ |= std::uint64_t{1} << reporter;
  least_ = std::min(least_, least);
  most_ = std::max(most_, most);
}

std::optional<PositionAnnouncement> PlanState::take_answer(std::uint32_t plan,
                                                           std::uint64_t reporters) {
  if (phase_ != Phase::frozen || answered_ == 0 || (reporters & ~answered_) != 0) {
    return std::nullopt;
  }
  answered_ = 0;
  return PositionAnnouncement{plan, least_, most_};
}

bool PlanState::first_leave() { return !std::exchange(leave_sent_, true); }

}  // namespace ringleader::protocol
