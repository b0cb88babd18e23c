// SPDX-License-Identifier: Apache-2.0
//
// Channel: the batches of one group, in order, in one stream. A batch is a list of steps between
// packing and unpacking. Each step is a call on a communicator:
//
//   pack -> allreduce -> unpack
//   pack -> reduce_scatter inside the node -> allreduce between -> allgather inside -> unpack
//
// A call is in the stream only once its communicator says that it is no longer busy. The next step
// waits for that; the host does not.
#pragma once

#include <ringleader/collectives/nccl/collective.h>
#include <ringleader/collectives/nccl/communicator.h>
#include <ringleader/collectives/nccl/fusion_kernels.h>
#include <ringleader/collectives/nccl/handles.h>
#include <ringleader/collectives/nccl/nccl_backend.h>
#include <ringleader/core/batch.h>

#include <deque>
#include <functional>
#include <memory>
#include <memory_resource>
#include <optional>
#include <vector>

namespace ringleader::nccl {

struct Step {
  const Communicator* communicator;
  std::function<Status()> call;
};

/// A batch in progress.
struct Running {
  const Batch* batch = nullptr;
  Transfer transfer;
  std::vector<Step> steps;
  std::size_t next = 0;             ///< index of the current step
  bool begun = false;               ///< whether the current step has begun
  int looks = 0;                    ///< looks at the current step since then
  std::vector<FusionTable> inputs;  ///< if packed; kernels read them until it has ended
  std::vector<FusionTable> outputs;
  void* wire = nullptr;          ///< if packed: the buffer
  std::shared_ptr<Event> ended;  ///< set once all of it is in the stream
};

class Channel {
 public:
  /// Collective, also for a member whose device cannot be used (`device` says why). `pinned` is for
  /// the tables of the batches, and must outlive the channel.
  static Result<std::shared_ptr<Channel>> open(const Group& group, const NcclOptions& options,
                                               const Status& device,
                                               std::pmr::memory_resource* pinned);

  /// `running` must stay valid until it has ended or the channel has failed.
  void push(Running* running) { waiting_.push_back(running); }

  /// Enqueues what the communicators are free to take. Returns whether that was anything.
  Result<bool> advance();

  /// Whether a communicator is about to finish putting a call into the stream, so that it is worth
  /// looking again at once. That takes some tens of microseconds, except for a communicator that
  /// sets up connections.
  bool enqueues();

  /// Checks for errors of the network or of another member.
  Status state();

  /// Begins nothing any more, and no longer touches anything that was pushed.
  void fail(const Status& status);

  void close();  ///< for an idle channel; blocks for a bounded time

  /// Returns the communicators, which are to be aborted. The channel has failed and no longer calls
  /// them.
  std::vector<Communicator> take_communicators();

 private:
  Channel(Stream stream, std::pmr::memory_resource* pinned)
      : stream_(std::move(stream)), pinned_(pinned) {}

  Status connect(const Group& group, const NcclOptions& options, const Status& device);
  std::vector<Communicator*> communicators();
  Status failed(const Status& status);
  Status advance(Running& running, bool& progress);
  Status prepare(Running& running);
  std::vector<Step> steps_of(const Running& running, const void* input, void* output) const;
  std::vector<Step> hierarchical(const Running& running, const void* input, void* output) const;
  Status finish(Running& running);

  // Destroyed last: work still in the stream may use them.
  Communicator whole_;
  std::optional<Communicator> inside_;   ///< the ranks of this node, if it reduces hierarchically
  std::optional<Communicator> between_;  ///< the ranks at this position on all nodes
  int node_size_ = 1;
  int node_rank_ = 0;

  Stream stream_;
  FusionKernels kernels_{stream_.get()};
  StreamScratch wire_;  ///< of the batch enqueued last
  std::pmr::memory_resource* pinned_;
  std::deque<Running*> waiting_;  ///< not fully enqueued
  Status failed_;                 ///< permanent
};

}  // namespace ringleader::nccl
