// SPDX-License-Identifier: Apache-2.0
//
// Batch: tensors that run as one collective, as a backend sees them. Everything in it except the
// pointers is equal on all ranks of the group, save where a member says otherwise.
#pragma once

#include <ringleader/core/tensor.h>
#include <ringleader/core/types.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace ringleader {

/// The ranks of one channel. Batches of a channel run in the same order on all of them.
struct Group {
  std::uint32_t channel = 0;  ///< never reused, equal on all members
  std::vector<int> ranks;     ///< world ranks of the members, ascending
  int rank = 0;               ///< this process's index in `ranks`

  int size() const { return static_cast<int>(ranks.size()); }
};

/// One tensor of a batch. `input` and `output` are the same memory, or do not overlap; for
/// allgather and reduce_scatter the smaller one may also be this rank's own block of the larger.
struct BatchTensor {
  const void* input = nullptr;
  void* output = nullptr;
  std::int64_t count = 0;  ///< elements of the input on this rank

  /// Of an allreduce in device memory: f32 that travels as the 16-bit floats of the batch.
  bool wire_type_differs = false;
};

class DeviceEvent;  // core/runtime/device.h

struct Batch {
  std::shared_ptr<const Group> group;
  std::uint64_t sequence = 0;  ///< position in the channel

  Op op = Op::allreduce;
  DType dtype = DType::f32;
  Device device = Device::host;
  ReduceOp reduce_op = ReduceOp::sum;
  double prescale = 1.0;     ///< multiplies every input element before the reduction
  double postscale = 1.0;    ///< multiplies every result after the reduction and the division
  std::int64_t divisor = 1;  ///< average only: the number of ranks to divide by
  int root = 0;              ///< broadcast only: index in the group

  /// Exactly one tensor, except for allreduce and broadcast.
  std::vector<BatchTensor> tensors;

  /// Elements per group rank, in rank order. The blocks lie in the buffer one after another.
  ///   allgather       block_counts: what each rank contributes (blocks of the output)
  ///   reduce_scatter  block_counts: what each rank receives (blocks of the input)
  ///   alltoall        send_counts: blocks of the input; block_counts: blocks of the output
  ///                   (both differ by rank)
  ///   exchange        the same, with at most one block that is not empty in each
  std::vector<std::int64_t> block_counts;
  std::vector<std::int64_t> send_counts;

  /// Device memory: what must have happened before the tensors are touched.
  std::vector<const DeviceEvent*> ready;

  std::int64_t count() const {
    std::int64_t total = 0;
    for (const BatchTensor& tensor : tensors) total += tensor.count;
    return total;
  }
};

/// Elements [begin, end) of `count` that belong to share `index` of `shares`; the first
/// `count % shares` shares have one element more.
inline std::pair<std::int64_t, std::int64_t> share_of(std::int64_t count, int shares, int index) {
  const std::int64_t base = count / shares;
  const std::int64_t extra = count % shares;
  const std::int64_t begin = base * index + (index < extra ? index : extra);
  return {begin, begin + base + (index < extra ? 1 : 0)};
}

}  // namespace ringleader
