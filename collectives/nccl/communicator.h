// SPDX-License-Identifier: Apache-2.0
//
// Communicator: the members of one channel as NCCL sees them. Only opening one waits for
// the other members: a communicator that is busy setting up connections says so, and is asked
// again.
#pragma once

#include <ringleader/collectives/nccl/checked.h>
#include <ringleader/collectives/nccl/nccl_backend.h>
#include <ringleader/core/batch.h>
#include <ringleader/core/result.h>

#include <optional>
#include <utility>

namespace ringleader::nccl {

class Communicator {
 public:
  /// Collective over the group; blocks for a bounded time. Errors: transport; invalid_argument if
  /// two members share a device, which NCCL does not support. A member whose device cannot be used
  /// takes part too, and `device` says why.
  static Result<Communicator> open(const Group& group, const NcclOptions& options,
                                   const Status& device);

  Communicator() = default;
  Communicator(Communicator&& other) noexcept
      : communicator_(std::exchange(other.communicator_, nullptr)) {}
  Communicator& operator=(Communicator&& other) noexcept {
    std::swap(communicator_, other.communicator_);
    return *this;
  }
  /// Ends work in flight instead of waiting for it. An idle communicator should be ended by
  /// close().
  ~Communicator() { abort(); }

  ncclComm_t get() const { return communicator_; }

  /// Nothing while it is busy with what was asked of it; otherwise the outcome of that, or what has
  /// failed since.
  std::optional<Status> state() const;

  /// Ends an idle communicator. Blocks for a bounded time.
  void close();

  /// Makes its kernels end, with or without the others. Idempotent.
  void abort();

 private:
  ncclComm_t communicator_ = nullptr;
};

}  // namespace ringleader::nccl
