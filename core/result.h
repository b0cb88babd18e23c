// SPDX-License-Identifier: Apache-2.0
//
// Result<T>: a value, or the Status that says why there is none.
//
//   Result<Message> message = decode(bytes);
//   if (!message.ok()) return message.status();
//   use(*message);
#pragma once

#include <ringleader/core/check.h>
#include <ringleader/core/status.h>

#include <utility>
#include <variant>

namespace ringleader {

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}        // NOLINT(google-explicit-constructor)
  Result(Status status) : state_(std::move(status)) {  // NOLINT(google-explicit-constructor)
    RL_CHECK(!std::get<Status>(state_).ok(), "a Result without a value needs an error");
  }

  bool ok() const { return std::holds_alternative<T>(state_); }
  Status status() const { return ok() ? Status() : std::get<Status>(state_); }

  T& operator*() { return std::get<T>(state_); }
  const T& operator*() const { return std::get<T>(state_); }
  T* operator->() { return &std::get<T>(state_); }
  const T* operator->() const { return &std::get<T>(state_); }

 private:
  std::variant<T, Status> state_;
};

}  // namespace ringleader
