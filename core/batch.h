// SPDX-License-Identifier: Apache-2.0
//
// Batch: the tensors of one collective, as a backend sees them. Everything except the pointers is
// equal on all ranks of the group, unless a member says otherwise.
#pragma once

#include <ringleader/core/tensor.h>
#include <ringleader/core/types.h>

#include <cstdint>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

namespace ringleader {

/// The ranks of one channel. All of them run the channel's batches in the same order.
struct Group {
  std::uint32_t channel = 0;  ///< never reused, equal on all members
  std::vector<int> ranks;     ///< world ranks of the members, ascending
  int rank = 0;               ///< this process's index in `ranks`

  int size() const { return static_cast<int>(ranks.size()); }
};

/// One tensor of a batch. `input` and `output` are either the same memory or do not overlap. For
/// allgather and reduce_scatter, the smaller may also be this rank's own block of the larger.
struct BatchTensor {
  const void* input = nullptr;
  void* output = nullptr;
  std::int64_t count = 0;  ///< elements of the input on this rank

  /// Allreduce in device memory only: this tensor is f32 but travels as the batch's 16-bit floats.
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

  /// Elements per group rank, in rank order. Blocks are adjacent in the buffer.
  ///   allgather       block_counts: what each rank contributes (blocks of the output)
  ///   reduce_scatter  block_counts: what each rank receives (blocks of the input)
  ///   alltoall        send_counts: blocks of the input; block_counts: blocks of the output
  ///                   (both differ by rank)
  ///   exchange        the same, with at most one non-empty block in each
  std::vector<std::int64_t> block_counts;
  std::vector<std::int64_t> send_counts;

  /// Device memory: the events that must precede any access to the tensors.
  std::vector<const DeviceEvent*> ready;

  std::int64_t count() const {
    std::int64_t total = 0;
    for (const BatchTensor& tensor : tensors) total += tensor.count;
    return total;
  }
};

/// The range [begin, end) of share `index` when `count` elements are split into `shares`. The first
/// `count % shares` shares have one extra element.
inline std::pair<std::int64_t, std::int64_t> share_of(std::int64_t count, int shares, int index) {
  const std::int64_t base = count / shares;
  const std::int64_t extra = count % shares;
  const std::int64_t begin = base * index + (index < extra ? index : extra);
  return {begin, begin + base + (index < extra ? 1 : 0)};
}

/// Where block `index` begins among blocks of these sizes that lie one after another.
inline std::int64_t block_begin(const std::vector<std::int64_t>& counts, int index) {
  return std::accumulate(counts.begin(), counts.begin() + index, std::int64_t{0});
}

}  // namespace ringleader
