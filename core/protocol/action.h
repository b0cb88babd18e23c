// SPDX-License-Identifier: Apache-2.0
//
// Action: what a node asks its runtime to do, in order.
#pragma once

#include <ringleader/core/protocol/request.h>

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace ringleader::protocol {

/// One tensor of a batch to launch.
struct LaunchItem {
  Token token = kNoToken;  ///< this rank's operation, or kNoToken: take part with neutral elements
  std::uint32_t tensor = 0;     ///< which tensor of the operation
  std::int64_t count = 0;       ///< elements, as agreed (allgather, alltoall: some rank's)
  std::uint32_t parameter = 0;  ///< plan batches: which parameter of the plan
};

/// Launch these tensors as one collective. Answered by Node::finished(id).
struct Launch {
  std::uint64_t id = 0;
  std::uint32_t channel = 0;
  std::uint32_t process_set = 0;
  std::shared_ptr<const Request> request;  ///< of the first item, as are the names
  Op op = Op::allreduce;                   ///< like the members below, equal for all items
  std::int32_t root = -1;                  ///< broadcast: world rank
  DType dtype = DType::f32;
  std::int32_t contributors = 0;  ///< members that submitted it
  bool replayed = false;          ///< a plan's batch, launched without negotiation
  std::vector<LaunchItem> items;
};

/// An operation of this rank has ended. Exactly one per accepted submit().
struct Completion {
  Token token = kNoToken;
  Status status;
  std::int64_t value = 0;  ///< join: the last rank; add_process_set and register_plan: the id
};

/// No more batches will be launched on this channel.
struct ChannelClosed {
  std::uint32_t channel = 0;
};

/// A message for the user: a report about late ranks.
struct Notice {
  std::string text;
};

/// A deadlock was proved: everything pending and undecided has ended.
struct Reset {
  Status reason;
};

using Action = std::variant<Launch, Completion, ChannelClosed, Notice, Reset>;

}  // namespace ringleader::protocol
