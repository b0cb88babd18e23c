// SPDX-License-Identifier: Apache-2.0
//
// Communicator: owns an MPI_Comm. ChannelCommunicators: one communicator per channel of the
// runtime, made when the channel is first used.
#pragma once

#include <ringleader/collectives/mpi_transport/checked.h>
#include <ringleader/core/batch.h>
#include <ringleader/core/result.h>

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <utility>

namespace ringleader::mpi_transport {

/// Move-only. The destructor gives up the communicator, which is freed some time later, unless MPI
/// has been finalized.
class Communicator {
 public:
  Communicator() = default;
  explicit Communicator(MPI_Comm comm) : comm_(comm) {}
  ~Communicator() { free(); }
  Communicator(Communicator&& other) noexcept : comm_(std::exchange(other.comm_, MPI_COMM_NULL)) {}
  Communicator& operator=(Communicator&& other) noexcept {
    if (this != &other) {
      free();
      comm_ = std::exchange(other.comm_, MPI_COMM_NULL);
    }
    return *this;
  }

  /// A duplicate that reports errors instead of aborting. Collective over `comm`.
  static Result<Communicator> duplicate(MPI_Comm comm);

  MPI_Comm get() const { return comm_; }

 private:
  void free() noexcept;

  MPI_Comm comm_ = MPI_COMM_NULL;
};

/// Threading: any thread.
class ChannelCommunicators {
 public:
  /// `world` must outlive this object.
  explicit ChannelCommunicators(MPI_Comm world) : world_(world) {}

  /// The communicator of the group's channel; its rank i is member i of the group. The first call
  /// for a channel blocks until all members have made it. Calls for different channels may run at
  /// the same time where MPI has MPI_THREAD_MULTIPLE; otherwise all members make them in the same
  /// order.
  Result<MPI_Comm> of(const Group& group);

  void close(std::uint32_t channel) {
    const std::lock_guard lock(mutex_);
    communicators_.erase(channel);
  }

 private:
  Result<Communicator> make(const Group& group) const;

  MPI_Comm world_;
  std::mutex mutex_;
  std::condition_variable opened_;
  std::set<std::uint32_t> opening_;  ///< guarded by mutex_
  std::map<std::uint32_t, Communicator> communicators_;
};

}  // namespace ringleader::mpi_transport
