// SPDX-License-Identifier: Apache-2.0
//
// ChannelOpener: opens channels, each on a thread of its own. Opening waits for the other members.
// If the thread that drives the runtime did that, a stopped member would stop all ranks, and nobody
// would look for it.
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
  const Backend* backend = nullptr;
  Status status;
};

/// Threading: one thread at a time. Backends must allow open_channel() to run concurrently with
/// their other member functions.
class ChannelOpener {
 public:
  ChannelOpener();
  /// Does not wait for channels that are being opened, because their members may never come.
  ~ChannelOpener();
  ChannelOpener(const ChannelOpener&) = delete;
  ChannelOpener& operator=(const ChannelOpener&) = delete;

  /// Throws std::system_error if the system cannot create a thread.
  void open(std::shared_ptr<Backend> backend, std::shared_ptr<const Group> group);
  std::optional<OpenedChannel> take();
  bool idle() const { return opening_ == 0; }

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
  std::size_t opening_ = 0;  ///< begun and not taken yet
};

}  // namespace ringleader::runtime
