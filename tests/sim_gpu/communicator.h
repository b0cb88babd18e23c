// SPDX-License-Identifier: Apache-2.0
//
// A communicator of the simulated NCCL, and what was called on it.
#pragma once

#include "stream.h"
#include "transport.h"

#include <nccl.h>

#include <atomic>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace sim_gpu {

enum class Kind { all_reduce, reduce_scatter, all_gather, broadcast, send, receive };

/// One call. Of sends and receives, `peer` is the other; of a broadcast, the root.
struct Call {
  Kind kind;
  const void* input;
  void* output;
  std::size_t count;
  ncclDataType_t type;
  ncclRedOp_t op;
  int peer;
  double factor = 1;  ///< of the inputs
};

std::size_t size_of(ncclDataType_t type);

struct Communicator {
  std::string name;
  int rank = 0;
  int size = 0;
  bool blocking = false;
  int device = current_device;

  std::atomic<bool> busy{true};  ///< connecting, or not yet enqueued
  std::atomic<bool> stop{false};
  std::unique_ptr<Transport> transport;

  std::map<ncclRedOp_t, double> factors;  ///< of operators that multiply first
};

/// What a stream does for calls that were made as one, on the thread of the stream.
void run(Communicator& communicator, const std::vector<Call>& calls);

}  // namespace sim_gpu
