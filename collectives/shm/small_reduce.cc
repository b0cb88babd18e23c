// SPDX-License-Identifier: Apache-2.0
//
// Reductions of a few bytes: every member puts its input into its slot, and each sums all of them.
// One synchronization. Up to 40 bytes travel in the same cache line as the counter that announces
// them.
//
//   time: one line from each core to each other core; longer inputs add (P-1) n bytes of loads
#include <ringleader/collectives/shm/collective.h>

#include <ringleader/collectives/kernels/pieces.h>

namespace ringleader::shm {
namespace {

void reduce(const Batch& batch, Channel& channel, std::uint64_t number, std::int64_t begin,
            void* out, std::int64_t count) {
  List<const void*>& sources = channel.sources();
  sources.clear();
  for (int member = 0; member < channel.size(); ++member) {
    sources.push_back(kernels::at(channel.slot(member, number).data.data(), begin, batch.dtype));
  }
  kernels::reduce(kernels::spec_of(batch), sources, out, count);
}

}  // namespace

void publish_small(const Batch& batch, Slot& slot) {
  slot.source = Source::in_slot;
  kernels::pack(batch, 0, batch.count(), slot.data.data());
}

void reduce_small(const Batch& batch, Channel& channel, std::uint64_t number) {
  if (batch.op == Op::reduce_scatter) {
    const std::int64_t begin = block_begin(batch.block_counts, channel.rank());
    const std::int64_t end = block_begin(batch.block_counts, channel.rank() + 1);
    return reduce(batch, channel, number, begin, batch.tensors[0].output, end - begin);
  }
  std::int64_t begin = 0;
  for (const BatchTensor& tensor : batch.tensors) {
    reduce(batch, channel, number, begin, tensor.output, tensor.count);
    begin += tensor.count;
  }
}

}  // namespace ringleader::shm
