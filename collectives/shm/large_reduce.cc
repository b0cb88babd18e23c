// SPDX-License-Identifier: Apache-2.0
//
// Allreduce and reduce_scatter of more than a few bytes: direct if all members can address all
// tensors, else through the stages. This is decided once all have published, and all members decide
// alike.
#include <ringleader/collectives/shm/collective.h>

#include <fmt/core.h>

#include <utility>

namespace ringleader::shm {
namespace {

class LargeReduce : public Collective {
 public:
  using Collective::Collective;

  void publish(Slot& slot) override {
    slot.claimed.store(0, std::memory_order_relaxed);  // published with the rest
    slot.done.store(0, std::memory_order_relaxed);
    slot.source = Source::staged;
    List<std::int64_t> offsets(channel_.memory());
    for (const BatchTensor& tensor : batch_.tensors) {
      const std::int64_t tensor_bytes = tensor.count * element_bytes();
      offsets.push_back(offset_of(tensor.input, tensor_bytes));
      if (offsets.back() < 0) return;
      if (!writes_to_all()) continue;
      offsets.push_back(offset_of(tensor.output, tensor_bytes));
      if (offsets.back() < 0) return;
    }
    if (put_list(slot, offsets)) slot.source = Source::addressed;
  }

  std::optional<Status> advance() override {
    if (way_ == nullptr) {
      if (Status status = choose(); !status.ok()) return status;
    }
    return way_->advance();
  }

 private:
  bool writes_to_all() const { return batch_.op == Op::allreduce; }

  Status choose() {
    Addresses addresses(channel_.memory());
    List<std::int64_t> offsets(channel_.memory());
    for (int member = 0; member < size(); ++member) {
      if (slot_of(member).source != Source::addressed) {
        way_ = make_staged_reduce(batch_, channel_);
        return Status();
      }
      if (Status status = add(addresses, offsets, member); !status.ok()) return status;
    }
    way_ = make_direct_reduce(batch_, channel_, number_, std::move(addresses));
    return Status();
  }

  /// Adds the addresses that a member has published; `offsets` is scratch memory.
  Status add(Addresses& addresses, List<std::int64_t>& offsets, int member) const {
    if (Status status = read_list(member, offsets); !status.ok()) return status;
    const std::size_t stride = writes_to_all() ? 2 : 1;
    if (offsets.size() != stride * batch_.tensors.size()) return unusable(member);
    auto& [inputs, outputs] = addresses;
    for (std::size_t t = 0; t < batch_.tensors.size(); ++t) {
      const std::int64_t tensor_bytes = batch_.tensors[t].count * element_bytes();
      inputs.push_back(channel_.address(member, offsets[stride * t], tensor_bytes));
      if (inputs.back() == nullptr) return unusable(member);
      if (!writes_to_all()) continue;
      outputs.push_back(channel_.address(member, offsets[stride * t + 1], tensor_bytes));
      if (outputs.back() == nullptr) return unusable(member);
    }
    return Status();
  }

  static Status unusable(int member) {
    return Status(Code::bad_message,
                  fmt::format("shared memory: member {} published tensors that are not in its "
                              "segment",
                              member));
  }

  std::shared_ptr<Way> way_;
};

}  // namespace

std::shared_ptr<Collective> make_large_reduce(const Batch& batch, Channel& channel,
                                              std::uint64_t number) {
  return make_in<LargeReduce>(channel, batch, channel, number);
}

}  // namespace ringleader::shm
