// SPDX-License-Identifier: Apache-2.0
//
// LocalOperations: the operations that this rank has submitted and not yet completed, found by
// token or by key. Each leaves the table exactly once.
#pragma once

#include <ringleader/core/protocol/key_index.h>
#include <ringleader/core/protocol/plan_state.h>
#include <ringleader/core/protocol/request.h>

#include <cstdint>
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
  std::uint32_t tensors_left = 1;   ///< tensors that have not run yet
  bool decided = false;             ///< a batch with tensors of it was launched
  SourceLocation where;             ///< the call
  std::unique_ptr<Status> failure;  ///< the first error of its batches, if any
};

class LocalOperations {
 public:
  /// Tokens are given in ascending order.
  void add(Token token, LocalOperation operation);

  /// Valid until the next add() or erase().
  LocalOperation* find(Token token);
  bool contains(Token token) const { return position_of(token) != entries_.size(); }

  /// The operation of this name, or kNoToken.
  Token find(const KeyView& key) const;
  bool in_flight(const KeyView& key) const { return find(key) != kNoToken; }

  void erase(Token token);

  bool uses_process_set(std::uint32_t process_set) const;

  /// Whether one is the removal of a process set, or the release of a plan, `target`.
  bool removes(RequestKind kind, std::uint32_t target) const;

  /// The earliest submitted operation that can be late, or kNoToken. A join is never late, nor is
  /// the release of a plan: nobody waits for it, and the others release theirs when they are done.
  Token oldest() const;

  /// Calls visit(token, operation) in ascending order of tokens.
  template <typename Visit>
  void for_each(Visit visit) const {
    for (const Entry& entry : entries_) {
      if (entry.alive) visit(entry.token, entry.operation);
    }
  }

  std::vector<Token> tokens() const;
  std::size_t size() const { return alive_; }

 private:
  struct Entry {
    Token token = kNoToken;
    LocalOperation operation;
    bool alive = true;
  };

  std::size_t position_of(Token token) const;
  void compact();
  auto keys() const {
    return [this](std::uint32_t position) { return key_of(*entries_[position].operation.request); };
  }

  std::vector<Entry> entries_;  ///< by ascending token; dead ones are dropped now and then
  std::uint32_t alive_ = 0;
  std::uint32_t removals_ = 0;  ///< of process sets and plans; nearly always none
  KeyIndex by_key_;             ///< positions in entries_
};

}  // namespace ringleader::protocol
