// SPDX-License-Identifier: Apache-2.0
//
// LocalOperations: the operations that this rank has submitted and that have not completed, found
// by token, by id or by key. Each leaves the table exactly once.
#pragma once

#include <ringleader/core/protocol/plan_state.h>
#include <ringleader/core/protocol/request.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

namespace ringleader::protocol {

struct PlanParameter {
  std::uint32_t plan = 0;
  std::uint32_t index = 0;
};

/// Exactly one of `request` and `parameter` is set.
struct LocalOperation {
  std::shared_ptr<const Request> request;
  std::optional<PlanParameter> parameter;
  SourceLocation where;            ///< the call
  std::uint32_t tensors_left = 1;  ///< tensors that have not run yet
  bool decided = false;            ///< some batch with its tensors was launched
  Status outcome;                  ///< the first error of its batches
};

class LocalOperations {
 public:
  void add(Token token, LocalOperation operation) {
    if (operation.request) by_key_[key_of(*operation.request)] = token;
    operations_.emplace(token, std::move(operation));
  }

  LocalOperation* find(Token token) {
    const auto found = operations_.find(token);
    return found == operations_.end() ? nullptr : &found->second;
  }

  /// The operation of this name, or kNoToken.
  Token find(const Key& key) const {
    const auto found = by_key_.find(key);
    return found == by_key_.end() ? kNoToken : found->second;
  }

  bool in_flight(const Key& key) const { return by_key_.count(key) != 0; }

  void erase(Token token) {
    const auto found = operations_.find(token);
    if (found->second.request) by_key_.erase(key_of(*found->second.request));
    operations_.erase(found);
  }

  bool uses_process_set(std::uint32_t process_set) const {
    const auto first = by_key_.lower_bound(Key{process_set, ""});
    return first != by_key_.end() && first->first.process_set == process_set;
  }

  /// The operation that was submitted first and is not a join, for which waiting long is normal; or
  /// kNoToken.
  Token oldest() const {
    for (const auto& [token, operation] : operations_) {
      if (!operation.request || operation.request->op != Op::join) return token;
    }
    return kNoToken;
  }

  auto begin() const { return operations_.begin(); }
  auto end() const { return operations_.end(); }

  /// Tokens in ascending order.
  std::vector<Token> tokens() const {
    std::vector<Token> all;
    for (const auto& [token, operation] : operations_) all.push_back(token);
    return all;
  }

  std::size_t size() const { return operations_.size(); }

 private:
  std::map<Token, LocalOperation> operations_;
  std::map<Key, Token> by_key_;
};

}  // namespace ringleader::protocol
