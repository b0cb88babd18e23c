// SPDX-License-Identifier: Apache-2.0
//
// Executor: runs decided batches on the backends, per channel in order.
//
// A channel is an ordered sequence of batches. Backends run several batches of a channel at once,
// as long as they are launched in order. Later batches on a channel are held back only while the
// members exchange sizes (allgather, alltoall), ask each other for memory (large results), or open
// the channel.
#pragma once

#include <ringleader/core/protocol/node.h>
#include <ringleader/core/runtime/backend.h>
#include <ringleader/core/runtime/batch_builder.h>
#include <ringleader/core/runtime/channel_opener.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

namespace ringleader::runtime {

/// OnLaunch is called for each of this rank's operations when its data goes to a backend. For data
/// in device memory, OnEnded is called once the event after which its result is available is known.
using OnLaunch = std::function<void(const Operation&)>;
using OnEnded = std::function<void(Operation&, const std::shared_ptr<DeviceEvent>&)>;

struct FinishedBatch {
  std::uint64_t launch_id = 0;
  Status status;
  bool fatal = true;  ///< of an error: the other ranks may not see it
};

class Executor {
 public:
  /// backends         in order of preference
  /// opens_aside      other threads may use the backends too, and open channels; otherwise the
  ///                  launching thread opens them and waits for the other members
  Executor(std::vector<std::unique_ptr<Backend>> backends, int rank, Memory memory,
           bool opens_aside, OnLaunch on_launch, OnEnded on_ended);

  /// Channels are opened before their first batch; `members` are world ranks.
  bool knows(std::uint32_t channel) const { return channels_.count(channel) != 0; }
  void open_channel(std::uint32_t channel, const std::vector<int>& members);

  /// Starts a batch, or queues it behind its channel. `operations` are this rank's, one per item,
  /// null where it has joined. They are taken; the vector keeps memory for the next call. All ranks
  /// find `unsupported`; any other error is fatal, because it leaves the other ranks waiting.
  Status launch(const protocol::Launch& launch,
                std::vector<std::shared_ptr<Operation>>& operations);

  /// Advances all running batches by a bounded amount. Returns those that have finished; the result
  /// is valid until the next call.
  const std::vector<FinishedBatch>& poll();

  void close_channel(std::uint32_t channel);

  /// The runtime has failed: end what is in flight.
  void abandon();

  /// Grows whenever a poll() has done something.
  std::uint64_t work_done() const;

  bool idle() const { return running_.empty() && opener_.idle(); }
  std::uint64_t batches() const { return batches_; }
  std::uint64_t tensors() const { return tensors_; }

 private:
  /// A batch, or the exchange that its members run before it.
  struct Running {
    std::unique_ptr<PreparedBatch> prepared;
    enum class Stage : std::uint8_t { sizes, consent, data } stage = Stage::data;
    std::unique_ptr<Batch> exchange;  ///< of the first two stages
    Backend* backend = nullptr;       ///< for batch()
    Ticket ticket = 0;
    bool ended_known = false;  ///< on_ended was called

    Batch& batch() { return exchange ? *exchange : prepared->batch; }
  };
  struct Channel {
    std::shared_ptr<const Group> group;
    std::uint64_t next_sequence = 0;
    bool exchanging = false;  ///< later batches wait until the exchange ends
    int opening = 0;          ///< backends that are opening it
    std::deque<Running> waiting;
    std::set<const Backend*> opened;
  };

  Status choose_backend(Channel& channel, Running& running);
  Status start(Channel& channel, Running running);
  Status start_waiting(Channel& channel);
  Status start_batch(Channel& channel, Running running);
  void set_stage(Running& running, Running::Stage stage);
  void exchanged(Running running);
  void refuse_waiting(Channel& channel, const OpenedChannel& opened);
  void finish(Running& running, Status status, bool fatal);
  void look_for_end(Running& running);
  void recycle(std::unique_ptr<PreparedBatch> prepared);

  std::vector<std::shared_ptr<Backend>> backends_;
  int rank_;
  Memory memory_;
  bool opens_aside_;
  ChannelOpener opener_;
  OnLaunch on_launch_;
  OnEnded on_ended_;
  std::map<std::uint32_t, Channel> channels_;
  std::vector<Running> running_;
  std::vector<std::unique_ptr<PreparedBatch>> spare_;  ///< the next batches reuse their memory
  std::vector<FinishedBatch> finished_;
  std::uint64_t batches_ = 0;
  std::uint64_t tensors_ = 0;
};

}  // namespace ringleader::runtime
