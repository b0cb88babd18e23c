// SPDX-License-Identifier: Apache-2.0
#include "checker.h"

#include <algorithm>

namespace ringleader::sim {
namespace {

std::string rank_and(int rank, const std::string& rest) {
  return "rank " + std::to_string(rank) + ": " + rest;
}

}  // namespace

void Checker::fail(const std::string& invariant, const std::string& what) {
  if (failure_.empty()) failure_ = invariant + " broke: " + what;
}

void Checker::submitted(int rank, int operation) {
  submitted_.insert({rank, operation});
  if (scenario_.operations[static_cast<std::size_t>(operation)].name == "join") {
    joined_.insert(rank);
  }
}

void Checker::log(int rank, const protocol::LogAppend& append) {
  auto& own = logs_[static_cast<std::size_t>(rank)];
  if (append.first != own.size()) fail("I0", rank_and(rank, "a gap in the log"));
  for (const protocol::LogEntry& entry : append.entries) {
    own.push_back(protocol::encode(protocol::LogAppend{0, {entry}}));
    for (const auto& other : logs_) {
      const std::size_t index = own.size() - 1;
      if (index < other.size() && other[index] != own.back()) {
        fail("I0", rank_and(rank, "log entry " + std::to_string(index) + " differs"));
      }
    }
  }
}

void Checker::launched(int rank, const protocol::Launch& launch,
                       const std::vector<int>& operations) {
  std::size_t& position = positions_[{rank, launch.channel}];
  auto& batches = channels_[launch.channel];
  if (position == batches.size()) {
    Batch batch{
        launch.items.size(), {}, std::vector<int>(launch.items.size(), -1), launch.replayed, {}};
    for (const auto& item : launch.items) batch.counts.push_back(item.count);
    batches.push_back(std::move(batch));
  }
  Batch& batch = batches[position++];
  const bool sized_alike = launch.request->op != Op::allgather;
  if (batch.items != launch.items.size() || batch.replayed != launch.replayed) {
    fail("I1", rank_and(rank, "another batch than on other ranks"));
    return;
  }
  batch.ranks.insert(rank);
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < launch.items.size(); ++i) {
    bytes += launch.items[i].count * static_cast<std::int64_t>(size_of(launch.dtype));
    if (sized_alike && batch.counts[i] != launch.items[i].count) {
      fail("I1", rank_and(rank, "another tensor than on other ranks"));
    }
    if (operations[i] < 0) {
      if (!has_joined(rank) && scenario_.shutdown_at < 0) {
        fail("I3", rank_and(rank, "takes part without data though it has not joined"));
      }
      continue;
    }
    if (batch.operations[i] < 0) batch.operations[i] = operations[i];
    if (batch.operations[i] != operations[i]) {
      fail("I1", rank_and(rank, "another operation than on other ranks"));
    }
    launched_.insert(operations[i]);
    const Operation& info = scenario_.operations[static_cast<std::size_t>(operations[i])];
    if (info.mismatch) fail("I4", rank_and(rank, info.name + " runs though ranks disagree"));
    for (const int member : scenario_.process_sets[static_cast<std::size_t>(info.process_set)]) {
      if (!launch.replayed && submitted_.count({member, operations[i]}) == 0 &&
          !has_joined(member)) {
        fail("I3", rank_and(rank, info.name + " is launched before rank " + std::to_string(member) +
                                      " has submitted it"));
      }
    }
  }
  if (launch.items.size() > 1 && bytes > scenario_.fusion_bytes_max) {
    fail("I5", rank_and(rank, "a batch of " + std::to_string(bytes) + " bytes"));
  }
}

void Checker::completed(int rank, int operation, const Status& status) {
  const Operation& info = scenario_.operations[static_cast<std::size_t>(operation)];
  if (submitted_.count({rank, operation}) == 0) fail("I2", rank_and(rank, "completes a stranger"));
  if (!completed_.emplace(std::pair(rank, operation), status).second) {
    fail("I2", rank_and(rank, info.name + " completes twice"));
  }
  const bool faults = scenario_.shutdown_at >= 0 || scenario_.loss_at >= 0;
  const bool stopped =
      faults && (status.code() == Code::shutdown || status.code() == Code::rank_lost);
  if (stopped) return;
  if (info.mismatch != (status.code() == Code::mismatch)) {
    fail("I4", rank_and(rank, info.name + " ends with: " + status.message()));
  }
  const bool joined = info.may_meet_join && status.code() == Code::joined;
  if (!status.ok() && !info.mismatch && !joined) {
    fail("I6", rank_and(rank, info.name + " fails: " + status.message()));
  }
  if (status.ok() && info.name == "join") joined_.erase(rank);
  for (const int member : scenario_.process_sets[static_cast<std::size_t>(info.process_set)]) {
    const auto other = completed_.find({member, operation});
    const bool comparable = other != completed_.end() && other->second.code() != Code::shutdown &&
                            other->second.code() != Code::rank_lost;
    if (comparable && !(other->second == status)) {
      fail("I4",
           rank_and(rank, info.name + " ends differently than on rank " + std::to_string(member)));
    }
    if (status.ok() && submitted_.count({member, operation}) == 0 && !info.may_meet_join &&
        joined_.empty()) {
      fail("I3", rank_and(rank, info.name + " completes before rank " + std::to_string(member) +
                                    " has submitted it"));
    }
  }
}

void Checker::finished(bool faults) {
  for (const auto& [rank, operation] : submitted_) {
    if (completed_.count({rank, operation}) != 0) continue;
    if (faults && scenario_.loss_at >= 0 && rank == scenario_.victim) continue;
    const Operation& info = scenario_.operations[static_cast<std::size_t>(operation)];
    fail(faults ? "I7" : "I6", rank_and(rank, info.name + " never completes"));
  }
  if (faults) return;
  for (const auto& [channel, batches] : channels_) {
    for (const Batch& batch : batches) {
      if (batch.ranks.size() != batches.front().ranks.size()) {
        fail("I1",
             "a batch of channel " + std::to_string(channel) + " is not launched by all members");
      }
    }
  }
}

}  // namespace ringleader::sim
