// SPDX-License-Identifier: Apache-2.0
//
// Status: the outcome of an operation inside the library. Error: the exception that the public API
// throws for it.
//
//   Status status = validate(request);
//   if (!status.ok()) return status;
//
// A Status neither prints nor exits; its receiver decides what to do.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace ringleader {

/// What kind of failure a Status or an Error reports.
enum class Code : std::uint8_t {
  ok,
  invalid_argument,  ///< the caller's own arguments are wrong; no other rank was involved
  not_initialized,   ///< the library was used before init() or after shutdown()
  duplicate_name,    ///< an operation of this name is already in flight on this rank
  mismatch,          ///< ranks disagree about an operation; it ran on none of them
  joined,            ///< the operation cannot run while some rank has joined
  shutdown,          ///< some rank shut down before the operation could run
  rank_lost,         ///< a rank died, is unreachable or took too long; the library is unusable
  stalled,           ///< no rank, or no thread that may, could proceed; the library goes on
  transport,         ///< MPI, NCCL or the operating system reported a failure
  bad_message,       ///< a peer sent bytes that are not a valid message
  unsupported,       ///< no backend can run this operation in this build
  no_memory,         ///< some rank has no memory for the result; it ran on none of them
};

/// The name of the code, as spelt above.
const char* name_of(Code code);

/// Success, or a code and a message. The message says what was attempted, on which tensor, which
/// ranks and values disagree, and what to do.
class [[nodiscard]] Status {
 public:
  Status() = default;
  /// An error; the code is not Code::ok.
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) {}

  /// True unless this is an error.
  bool ok() const { return code_ == Code::ok; }
  /// What kind of error; Code::ok if none.
  Code code() const { return code_; }
  /// What was attempted, on which tensor, and what to do; empty if no error.
  const std::string& message() const { return message_; }

  /// Equal code and message.
  friend bool operator==(const Status& a, const Status& b) {
    return a.code_ == b.code_ && a.message_ == b.message_;
  }

 private:
  Code code_ = Code::ok;
  std::string message_;
};

/// The exception thrown by the public API. what() is the Status' message.
class Error : public std::runtime_error {
 public:
  /// The status is an error.
  explicit Error(const Status& status) : std::runtime_error(status.message()), status_(status) {}

  /// What kind of error.
  Code code() const { return status_.code(); }
  /// Code and message as a value.
  const Status& status() const { return status_; }

 private:
  Status status_;
};

/// Throws Error if the status is not ok.
inline void throw_if_error(const Status& status) {
  if (!status.ok()) throw Error(status);
}

}  // namespace ringleader
