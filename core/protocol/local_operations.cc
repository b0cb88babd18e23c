// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/check.h>
#include <ringleader/core/protocol/local_operations.h>

#include <algorithm>
#include <utility>

namespace ringleader::protocol {
namespace {

bool is_removal(const LocalOperation& operation) {
  return operation.request && (operation.request->kind == RequestKind::remove_process_set ||
                               operation.request->kind == RequestKind::release_plan);
}

}  // namespace

void LocalOperations::add(Token token, LocalOperation operation) {
  RL_CHECK(entries_.empty() || token > entries_.back().token, "tokens must ascend");
  // Grows by a quarter, not twofold: a simulated machine has a hundred thousand of these tables.
  if (entries_.size() == entries_.capacity()) {
    entries_.reserve(entries_.size() + entries_.size() / 4 + 4);
  }
  const auto position = static_cast<std::uint32_t>(entries_.size());
  entries_.push_back({token, std::move(operation), true});
  ++alive_;
  if (is_removal(entries_.back().operation)) ++removals_;
  const auto& request = entries_.back().operation.request;
  if (request) by_key_.insert(key_of(*request), position, keys());
}

std::size_t LocalOperations::position_of(Token token) const {
  // Tokens are mostly consecutive. Then the token is here.
  const Token offset = entries_.empty() ? 0 : token - entries_.front().token;
  if (offset < entries_.size() && entries_[offset].token == token) {
    return entries_[offset].alive ? offset : entries_.size();
  }
  const auto found = std::lower_bound(entries_.begin(), entries_.end(), token,
                                      [](const Entry& entry, Token t) { return entry.token < t; });
  const bool there = found != entries_.end() && found->token == token && found->alive;
  return there ? static_cast<std::size_t>(found - entries_.begin()) : entries_.size();
}

LocalOperation* LocalOperations::find(Token token) {
  const std::size_t position = position_of(token);
  return position == entries_.size() ? nullptr : &entries_[position].operation;
}

Token LocalOperations::find(const KeyView& key) const {
  const std::optional<std::uint32_t> position = by_key_.find(key, keys());
  return position ? entries_[*position].token : kNoToken;
}

void LocalOperations::erase(Token token) {
  Entry& entry = entries_[position_of(token)];
  if (is_removal(entry.operation)) --removals_;
  if (entry.operation.request) by_key_.erase(key_of(*entry.operation.request), keys());
  entry.operation = LocalOperation();
  entry.alive = false;
  if (--alive_ == 0) {
    entries_.clear();
    by_key_.clear();
  } else if (entries_.size() > 4 * alive_ + 64) {
    compact();
  }
}

void LocalOperations::compact() {
  std::erase_if(entries_, [](const Entry& entry) { return !entry.alive; });
  by_key_.clear();
  for (std::uint32_t i = 0; i < entries_.size(); ++i) {
    const auto& request = entries_[i].operation.request;
    if (request) by_key_.insert(key_of(*request), i, keys());
  }
}

bool LocalOperations::uses_process_set(std::uint32_t process_set) const {
  return std::any_of(entries_.begin(), entries_.end(), [process_set](const Entry& entry) {
    return entry.alive && entry.operation.request &&
           entry.operation.request->process_set == process_set;
  });
}

bool LocalOperations::removes(RequestKind kind, std::uint32_t target) const {
  if (removals_ == 0) return false;  // asked at every submission
  return std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) {
    const auto& request = entry.operation.request;
    return entry.alive && request && request->kind == kind && request->target == target;
  });
}

Token LocalOperations::oldest() const {
  for (const Entry& entry : entries_) {
    const auto& request = entry.operation.request;
    const bool may_take_long = request && (request->kind == RequestKind::join ||
                                           request->kind == RequestKind::release_plan);
    if (entry.alive && !may_take_long) return entry.token;
  }
  return kNoToken;
}

std::vector<Token> LocalOperations::tokens() const {
  std::vector<Token> all;
  for_each([&](Token token, const LocalOperation&) { all.push_back(token); });
  return all;
}

}  // namespace ringleader::protocol
