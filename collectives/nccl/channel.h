// SPDX-License-Identifier: Apache-2.0
//
// Channel: the batches of one group, in order, in one stream. A batch is a list of steps, each a
// call of a communicator, between packing and unpacking:
//
//   pack -> allreduce -> unpack
//   pack -> reduce_scatter inside the node -> allreduce between -> allgather inside -> unpack
//
// What a communicator was called to do is in the stream only when it says that it is no longer
// busy; so the next step waits for that, and the host does not.
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

/// A batch on its way.
struct Running {
  const Batch* batch = nullptr;
  Transfer transfer;
  std::vector<Step> steps;
  std::size_t next = 0;             ///< step
  bool begun = false;               ///< that one
  int looks = 0;                    ///< at it since
  std::vector<FusionTable> inputs;  ///< of a packed one; kernels read them until it has ended
  std::vector<FusionTable> outputs;
  void* wire = nullptr;          ///< the buffer of a packed one
  std::shared_ptr<Event> ended;  ///< once all of it is in the stream
};

class Channel {
 public:
  /// Collective, also for a member whose device cannot be used (`device` says why). `pinned` is for
  /// the tables of its batches, and outlives it.
  static Result<std::shared_ptr<Channel>> open(const Group& group, const NcclOptions& options,
                                               const Status& device,
                                               std::pmr::memory_resource* pinned);

  /// Stays valid until it has ended or the channel has failed.
  void push(Running* running) { waiting_.push_back(running); }

  /// Enqueues what the communicators are free to take; whether that was something.
  Result<bool> advance();

  /// Whether a communicator is about to have put a call into the stream, so that it is worth
  /// looking again at once: it takes some tens of microseconds, but for one that sets up
  /// connections.
  bool enqueues();

  /// An error of the network or of another member, found since.
  Status state();

  /// Nothing is begun any more, and nothing that was pushed is touched.
  void fail(const Status& status);

  void close();  ///< of an idle one; blocks for a bounded time

  /// To be aborted: the channel has failed, and calls them no more.
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

  // Destroyed last: what the stream still does may use them.
  Communicator whole_;
  std::optional<Communicator> inside_;   ///< the ranks of this node, if that is how it reduces
  std::optional<Communicator> between_;  ///< the ranks of this place on all nodes
  int node_size_ = 1;
  int node_rank_ = 0;

  Stream stream_;
  FusionKernels kernels_{stream_.get()};
  StreamScratch wire_;  ///< of the batch that was enqueued last
  std::pmr::memory_resource* pinned_;
  std::deque<Running*> waiting_;  ///< not wholly enqueued
  Status failed_;                 ///< for good
};

}  // namespace ringleader::nccl
