// SPDX-License-Identifier: Apache-2.0
//
// Backend: the port through which the runtime moves tensors. A verb is a value in the batch, not a
// method, so an adapter needs only one `supports` and one `launch`.
#pragma once

#include <ringleader/core/batch.h>
#include <ringleader/core/result.h>
#include <ringleader/core/runtime/device.h>
#include <ringleader/core/status.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

namespace ringleader {

/// Identifies a launched batch within its backend.
using Ticket = std::uint64_t;

/// Threading: called by one thread at a time, though not always the same one.
class Backend {
 public:
  virtual ~Backend() = default;

  /// The name by which RINGLEADER_BACKEND chooses it.
  virtual std::string_view name() const = 0;

  /// Whether this backend can run the batch. Depends only on facts that are equal on all ranks of
  /// the group, so that all choose the same backend.
  virtual bool supports(const Batch& batch) const = 0;

  /// Sets up what a channel needs, so that its first launch() does not wait for other ranks. All
  /// members call it; it blocks until all have. For host memory it may run on another thread,
  /// concurrently with the other member functions and for several channels at once; otherwise it is
  /// called in the same order across channels. Without it the first launch() does this.
  virtual Status open_channel(const std::shared_ptr<const Group>& /*group*/) { return Status(); }

  /// Starts a batch. All ranks of a channel launch its batches in the same order, but channels are
  /// launched independently of each other, so this must not wait for other ranks. The one exception
  /// is the first launch on a channel, which comes in the same order on all ranks across channels
  /// too. `batch` stays valid, and its tensors untouched, until poll() has reported the end. An
  /// error is fatal for the runtime.
  virtual Result<Ticket> launch(const Batch& batch) = 0;

  /// Does a bounded amount of work. Returns nothing while the batch is running, and otherwise its
  /// outcome, after which the ticket is forgotten. An error is fatal for the runtime.
  virtual std::optional<Status> poll(Ticket ticket) = 0;

  /// Grows whenever a poll() has done something, so that the caller can tell work from waiting and
  /// does not rest in the middle of work.
  virtual std::uint64_t work_done() const { return 0; }

  /// Batches in device memory: the event after which a running batch's results are available, as
  /// soon as it is known. Null until then, and for backends whose results are available when poll()
  /// says so.
  virtual std::shared_ptr<DeviceEvent> ended(Ticket /*ticket*/) { return nullptr; }

  /// The runtime has failed: end what is in flight, which lost ranks could keep waiting forever.
  virtual void abandon() {}

  /// No more batches will be launched on this channel. Called in the same order on all ranks.
  virtual void close_channel(std::uint32_t /*channel*/) {}
};

}  // namespace ringleader
