// SPDX-License-Identifier: Apache-2.0
#include "checker.h"

#include <algorithm>

namespace ringleader::sim {
namespace {

std::string rank_and(int rank, const std::string& rest) {
  return "rank " + std::to_string(rank) + ": " + rest;
}

/// How an operation may end once some rank has stopped.
bool cut_off(const Status& status) {
  return status.code() == Code::shutdown || status.code() == Code::rank_lost;
}

}  // namespace

Checker::Checker(const Scenario& scenario)
    : scenario_(scenario),
      log_length_(static_cast<std::size_t>(scenario.ranks)),
      records_(scenario.operations.size()) {
  for (Record& record : records_) {
    record.submitted.resize(static_cast<std::size_t>(scenario.ranks));
    record.completed.resize(static_cast<std::size_t>(scenario.ranks));
  }
}

void Checker::fail(const std::string& invariant, const std::string& what) {
  if (failure_.empty()) failure_ = invariant + " broke: " + what;
}

void Checker::submitted(int rank, int operation) {
  Record& own = record(operation);
  ++own.submissions;
  own.submitted[static_cast<std::size_t>(rank)] = true;
  if (info(operation).is_join) joined_.insert(rank);
}

void Checker::log(int rank, const protocol::LogAppend& append) {
  std::size_t& length = log_length_[static_cast<std::size_t>(rank)];
  if (append.first != length) return fail("I0", rank_and(rank, "a gap in the log"));
  for (const protocol::LogEntry& entry : append.entries) {
    protocol::Bytes bytes = protocol::encode(protocol::LogAppend{0, {entry}});
    if (length == log_.size()) {
      log_.push_back(std::move(bytes));
    } else if (log_[length] != bytes) {
      fail("I0", rank_and(rank, "log entry " + std::to_string(length) + " differs"));
    }
    ++length;
  }
}

void Checker::launched(int rank, const protocol::Launch& launch,
                       const std::vector<int>& operations) {
  std::size_t& position = positions_[{rank, launch.channel}];
  auto& batches = channels_[launch.channel];
  if (position == batches.size()) {
    Batch batch{
        launch.items.size(), {}, std::vector<int>(launch.items.size(), -1), launch.replayed, 0};
    for (const auto& item : launch.items) batch.counts.push_back(item.count);
    batches.push_back(std::move(batch));
  }
  Batch& batch = batches[position++];
  ++batch.ranks;
  if (batch.items != launch.items.size() || batch.replayed != launch.replayed) {
    fail("I1", rank_and(rank, "another batch than on other ranks"));
    return;
  }
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < launch.items.size(); ++i) {
    bytes += launch.items[i].count * static_cast<std::int64_t>(size_of(launch.dtype));
    check_item(rank, launch, batch, i, operations[i]);
  }
  if (launch.items.size() > 1 && bytes > scenario_.fusion_bytes_max) {
    fail("I5", rank_and(rank, "a batch of " + std::to_string(bytes) + " bytes"));
  }
}

void Checker::check_item(int rank, const protocol::Launch& launch, Batch& batch, std::size_t item,
                         int operation) {
  const bool sized_alike = launch.request->op != Op::allgather &&
                           launch.request->op != Op::alltoall && launch.request->op != Op::exchange;
  if (sized_alike && batch.counts[item] != launch.items[item].count) {
    fail("I1", rank_and(rank, "another tensor than on other ranks"));
  }
  if (operation < 0) {
    // A void batch of a plan is entered without data too; the end that voids it is in the log.
    if (!has_joined(rank) && scenario_.shutdown_at < 0 && scenario_.grace == 0) {
      fail("I3", rank_and(rank, "takes part without data though it has not joined"));
    }
    return;
  }
  if (batch.operations[item] < 0) batch.operations[item] = operation;
  if (batch.operations[item] != operation) {
    fail("I1", rank_and(rank, "another operation than on other ranks"));
  }
  const Operation& what = info(operation);
  Record& own = record(operation);
  if (what.expected == Expected::mismatch) {
    fail("I4", rank_and(rank, what.name + " runs though ranks disagree"));
  }
  if (what.expected == Expected::stalled) {
    fail("I3", rank_and(rank, what.name + " runs though some rank never submits it"));
  }
  if (launch.replayed || std::exchange(own.launched, true)) return;
  for (const int member : members(operation)) {
    if (own.submitted[static_cast<std::size_t>(member)] || has_joined(member)) continue;
    fail("I3", rank_and(rank, what.name + " is launched before rank " + std::to_string(member) +
                                  " has submitted it"));
  }
  if (launch.contributors != static_cast<int>(own.submissions)) {
    fail("I3", rank_and(rank, what.name + " counts " + std::to_string(launch.contributors) +
                                  " contributors, not " + std::to_string(own.submissions)));
  }
}

void Checker::check_expected(int rank, int operation, const Status& status) {
  const Operation& what = info(operation);
  const std::string ends = what.name + " ends with: " + status.message();
  switch (what.expected) {
    case Expected::mismatch:
      if (status.code() != Code::mismatch) fail("I4", rank_and(rank, ends));
      return;
    case Expected::stalled:
      if (status.code() != Code::stalled) fail("I4", rank_and(rank, ends));
      return;
    case Expected::success_or_joined:
      if (!status.ok() && status.code() != Code::joined) fail("I6", rank_and(rank, ends));
      return;
    case Expected::success_or_stalled:
      if (!status.ok() && status.code() != Code::stalled) fail("I6", rank_and(rank, ends));
      return;
    case Expected::success:
      if (!status.ok()) fail("I6", rank_and(rank, ends));
  }
}

void Checker::completed(int rank, int operation, const protocol::Completion& completion) {
  const Operation& what = info(operation);
  Record& own = record(operation);
  const Status& status = completion.status;
  if (!own.submitted[static_cast<std::size_t>(rank)]) {
    fail("I2", rank_and(rank, "completes a stranger"));
  }
  if (own.completed[static_cast<std::size_t>(rank)]) {
    fail("I2", rank_and(rank, what.name + " completes twice"));
  }
  own.completed[static_cast<std::size_t>(rank)] = true;
  if (status.ok() && what.is_join) joined_.erase(rank);
  if (scenario_.has_faults() && cut_off(status)) return;
  check_expected(rank, operation, status);
  if (!own.outcome) {
    own.outcome = status;
    own.value = completion.value;
  }
  if (!(*own.outcome == status) || own.value != completion.value) {
    fail("I4", rank_and(rank, what.name + " ends differently than on another rank"));
  }
  const bool all_submitted = own.submissions == members(operation).size();
  if (status.ok() && !all_submitted && what.expected != Expected::success_or_joined &&
      joined_.empty()) {
    fail("I3", rank_and(rank, what.name + " completes before all members have submitted it"));
  }
}

void Checker::finished(bool faults) {
  for (std::size_t i = 0; i < records_.size(); ++i) {
    for (int rank = 0; rank < scenario_.ranks; ++rank) {
      const auto index = static_cast<std::size_t>(rank);
      if (!records_[i].submitted[index] || records_[i].completed[index]) continue;
      const bool gone = scenario_.loss_at >= 0 || scenario_.stop_at >= 0;
      if (gone && rank == scenario_.victim) continue;
      // These may wait for as long as the others take.
      const bool patient = scenario_.operations[i].is_join || scenario_.operations[i].is_release;
      if (scenario_.stop_at >= 0 && patient) continue;
      fail(faults ? "I7" : "I6", rank_and(rank, scenario_.operations[i].name + " never completes"));
    }
  }
  if (faults) return;
  for (const auto& [channel, batches] : channels_) {
    for (const Batch& batch : batches) {
      if (batch.ranks != batches.front().ranks) {
        fail("I1",
             "a batch of channel " + std::to_string(channel) + " is not launched by all members");
      }
    }
  }
}

}  // namespace ringleader::sim
