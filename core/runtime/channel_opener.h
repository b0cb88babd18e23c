// SPDX-License-Identifier: Apache-2.0
//
// ChannelOpener: opens channels, each on a thread of its own. Opening waits for the other members;
// were that done by the thread that drives the runtime, a member that is stopped would stop all
// ranks, and nobody would look for it.
//
//   opener.open(backend, group);
//   while (auto opened = opener.take()) ...            // what has been opened since
#pragma once

#include <ringleader/core/runtime/backend.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace ringleader::runtime {

struct OpenedChannel {
  std::uint32_t channel = 0;
  Status status;
};

/// Threading: one thread at a time; backends must allow open_channel() beside their other members.
class ChannelOpener {
 public:
  ChannelOpener();
  /// Does not wait for channels that are being opened, as their members may never come.
  ~ChannelOpener();
  ChannelOpener(const ChannelOpener&) = delete;
  ChannelOpener& operator=(const ChannelOpener&) = delete;

  /// Throws std::system_error if the system gives no thread.
  void open(std::shared_ptr<Backend> backend, std::shared_ptr<const Group> group);
  std::optional<OpenedChannel> take();
  bool idle() const { return opening_ == 0; }

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
  std::size_t opening_ = 0;  ///< and not taken yet
};

}  // namespace ringleader::runtime
