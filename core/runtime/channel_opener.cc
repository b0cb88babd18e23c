// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/runtime/channel_opener.h>

#include <ringleader/core/runtime/blocked_signals.h>

#include <deque>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

namespace ringleader::runtime {

/// What the opening threads use. They may outlive the opener.
struct ChannelOpener::Shared {
  std::mutex mutex;
  std::deque<OpenedChannel> done;  ///< guarded by mutex
};

ChannelOpener::ChannelOpener() : shared_(std::make_shared<Shared>()) {}

ChannelOpener::~ChannelOpener() = default;

void ChannelOpener::open(std::shared_ptr<Backend> backend, std::shared_ptr<const Group> group) {
  const BlockedSignals blocked;  // inherited by the thread
  std::thread([shared = shared_, backend = std::move(backend), group = std::move(group)] {
    OpenedChannel opened{group->channel, backend.get(), Status()};
    try {
      opened.status = backend->open_channel(group);
    } catch (const std::exception& error) {
      opened.status = Status(Code::transport, std::string("opening a channel: ") + error.what());
    }
    const std::lock_guard lock(shared->mutex);
    shared->done.push_back(std::move(opened));
  }).detach();
  ++opening_;
}

std::optional<OpenedChannel> ChannelOpener::take() {
  if (opening_ == 0) return std::nullopt;
  const std::lock_guard lock(shared_->mutex);
  if (shared_->done.empty()) return std::nullopt;
  OpenedChannel opened = std::move(shared_->done.front());
  shared_->done.pop_front();
  --opening_;
  return opened;
}

}  // namespace ringleader::runtime
