// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/protocol/fusion.h>

#include <algorithm>
#include <utility>

namespace ringleader::protocol {
namespace {

struct OpenBatch {
  LaunchEntry entry;
  const Request* request = nullptr;
  const TensorSpec* tensor = nullptr;  ///< the first
  std::int64_t bytes = 0;
};

/// One tensor on its way into a batch.
struct Candidate {
  std::uint32_t channel = 0;
  std::int32_t absent = 0;
  BatchItem item;
  const Request* request = nullptr;
  const TensorSpec* tensor = nullptr;
};

std::int64_t bytes_of(const TensorSpec& tensor) {
  return count_of(tensor.shape) * static_cast<std::int64_t>(size_of(tensor.dtype));
}

/// Other operations get a batch of their own.
bool may_share(Op op) { return op == Op::allreduce || op == Op::broadcast; }

/// Whether the tensors can be parts of one collective.
bool are_alike(const Request& a, const TensorSpec& tensor_a, const Request& b,
               const TensorSpec& tensor_b) {
  return verb_of(a, tensor_a) == verb_of(b, tensor_b) && may_share(verb_of(a, tensor_a)) &&
         root_of(a, tensor_a) == root_of(b, tensor_b) && tensor_a.phase == tensor_b.phase &&
         tensor_a.dtype == tensor_b.dtype && a.device == b.device && a.reduce_op == b.reduce_op &&
         a.prescale == b.prescale && a.postscale == b.postscale &&
         a.average_over_contributors == b.average_over_contributors;
}

bool fits(const OpenBatch& batch, const Candidate& next, std::int64_t fusion_bytes_max) {
  return batch.entry.channel == next.channel && batch.entry.absent == next.absent &&
         are_alike(*batch.request, *batch.tensor, *next.request, *next.tensor) &&
         batch.bytes + bytes_of(*next.tensor) <= fusion_bytes_max;
}

void append(std::vector<BatchItem>& items, const BatchItem& item) {
  if (!items.empty() && items.back().id == item.id &&
      items.back().first_tensor + items.back().tensor_count == item.first_tensor) {
    ++items.back().tensor_count;
  } else {
    items.push_back(item);
  }
}

void place(std::vector<OpenBatch>& batches, const Candidate& next, std::int64_t bytes_max) {
  const auto target = std::find_if(batches.begin(), batches.end(), [&](const OpenBatch& batch) {
    return fits(batch, next, bytes_max);
  });
  if (target != batches.end()) {
    append(target->entry.items, next.item);
    target->bytes += bytes_of(*next.tensor);
    return;
  }
  batches.push_back({LaunchEntry{next.channel, next.absent, {next.item}}, next.request, next.tensor,
                     bytes_of(*next.tensor)});
}

}  // namespace

std::vector<LaunchEntry> fuse(const Catalog& catalog, const std::vector<ReadyOperation>& ready,
                              std::int64_t fusion_bytes_max) {
  std::vector<OpenBatch> batches;
  for (const ReadyOperation& operation : ready) {
    const Definition* definition = catalog.find(operation.id);
    const Request& request = *definition->request;
    const std::uint32_t channel = definition->plan
                                      ? catalog.plan(*definition->plan)->channel
                                      : catalog.process_set(request.process_set)->channel;
    const auto tensors = definition->plan ? 1U : static_cast<std::uint32_t>(request.tensors.size());
    for (std::uint32_t i = 0; i < tensors; ++i) {
      place(batches,
            {channel,
             operation.absent,
             {operation.id, i, 1},
             &request,
             catalog.tensor(operation.id, i)},
            fusion_bytes_max);
    }
  }
  std::vector<LaunchEntry> entries;
  entries.reserve(batches.size());
  for (OpenBatch& batch : batches) {
    std::vector<BatchItem>& items = batch.entry.items;
    // A plan's arena begins with its last tensor, so in this order neighbours are one piece of
    // memory, whoever was ready first.
    if (catalog.find(items.front().id)->plan) {
      std::sort(items.begin(), items.end(),
                [](const BatchItem& a, const BatchItem& b) { return a.id > b.id; });
    }
    entries.push_back(std::move(batch.entry));
  }
  return entries;
}

std::vector<std::vector<std::uint32_t>> cut_plan(const Request& plan,
                                                 std::vector<std::uint32_t> order,
                                                 std::int64_t fusion_bytes_max) {
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return plan.tensors[a].phase < plan.tensors[b].phase;
  });
  struct Cut {
    std::vector<std::uint32_t> parameters;
    std::int64_t bytes = 0;
    std::size_t last = 0;  ///< place in the order
    bool open = true;
  };
  std::vector<Cut> cuts;
  for (std::size_t place = 0; place < order.size(); ++place) {
    const TensorSpec& tensor = plan.tensors[order[place]];
    const auto alike = std::find_if(cuts.begin(), cuts.end(), [&](const Cut& cut) {
      return cut.open && are_alike(plan, plan.tensors[cut.parameters[0]], plan, tensor);
    });
    Cut* target = alike == cuts.end() ? nullptr : &*alike;
    if (target != nullptr && target->bytes + bytes_of(tensor) > fusion_bytes_max) {
      target->open = false;
      target = nullptr;
    }
    if (target == nullptr) target = &cuts.emplace_back();
    target->parameters.push_back(order[place]);
    target->bytes += bytes_of(tensor);
    target->last = place;
  }
  // A batch can be launched when its last parameter is ready.
  std::sort(cuts.begin(), cuts.end(), [](const Cut& a, const Cut& b) { return a.last < b.last; });
  std::vector<std::vector<std::uint32_t>> batches;
  for (Cut& cut : cuts) {
    std::sort(cut.parameters.rbegin(), cut.parameters.rend());
    batches.push_back(std::move(cut.parameters));
  }
  return batches;
}

}  // namespace ringleader::protocol
