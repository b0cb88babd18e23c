// SPDX-License-Identifier: Apache-2.0
//
// Reductions of a few bytes: every member puts its input into its slot, and each sums all of them.
// One synchronization; up to 48 bytes travel in the cache line that says that they have come.
//
//   time: one line from each core to each other, and for longer inputs (P-1) n bytes of loads
#include <ringleader/collectives/shm/collective.h>

#include <ringleader/collectives/kernels/pieces.h>

#include <numeric>

namespace ringleader::shm {
namespace {

class SmallReduce : public Collective {
 public:
  using Collective::Collective;

  void publish(Slot& slot) override {
    slot.source = Source::in_slot;
    kernels::pack(batch_, 0, batch_.count(), slot.data.data());
  }

  std::optional<Status> advance() override {
    if (batch_.op == Op::reduce_scatter) {
      const auto own = batch_.block_counts.begin() + rank();
      reduce(std::accumulate(batch_.block_counts.begin(), own, std::int64_t{0}),
             batch_.tensors[0].output, *own);
    } else {
      std::int64_t begin = 0;
      for (const BatchTensor& tensor : batch_.tensors) {
        reduce(begin, tensor.output, tensor.count);
        begin += tensor.count;
      }
    }
    return Status();
  }

 private:
  void reduce(std::int64_t begin, void* out, std::int64_t count) {
    List<const void*>& sources = channel_.sources();
    sources.clear();
    for (int member = 0; member < size(); ++member) {
      sources.push_back(slot_of(member).data.data() + begin * element_bytes());
    }
    kernels::reduce(kernels::spec_of(batch_), sources, out, count);
  }
};

}  // namespace

std::shared_ptr<Collective> make_small_reduce(const Batch& batch, Channel& channel,
                                              std::uint64_t number) {
  return make_in<SmallReduce>(channel, batch, channel, number);
}

}  // namespace ringleader::shm
