// SPDX-License-Identifier: Apache-2.0
//
// ControlPlane: the port through which the runtime exchanges control messages.
#pragma once

#include <ringleader/core/status.h>

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

namespace ringleader {

/// Shared, because the same bytes may go to several ranks and be forwarded unchanged.
using MessageBytes = std::shared_ptr<const std::vector<std::byte>>;

struct ReceivedMessage {
  int from = 0;
  MessageBytes bytes;
};

/// Larger messages are refused, so that a broken peer cannot make this process allocate at will.
constexpr std::size_t kControlMessageBytesMax = std::size_t{64} << 20;

/// Messages between two ranks arrive in the order in which they were sent.
/// Threading: called by one thread at a time, though not always the same one.
class ControlPlane {
 public:
  virtual ~ControlPlane() = default;

  /// Queues a message. Does not block.
  virtual Status send(int to, MessageBytes bytes) = 0;

  /// Advances queued sends and appends what has arrived to `received`. Does not block.
  virtual Status poll(std::vector<ReceivedMessage>& received) = 0;

  /// True when everything queued has left this process.
  virtual bool sent_all() = 0;

  /// True if an arrival calls the waker, so that an idle runtime need not look. Any thread may call
  /// the waker.
  virtual bool set_waker(std::function<void()> waker) = 0;
};

}  // namespace ringleader
