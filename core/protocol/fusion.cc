// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/protocol/fusion.h>

#include <ringleader/core/protocol/mutated.h>

#include <algorithm>

namespace ringleader::protocol {
namespace {

struct OpenBatch {
  LaunchEntry entry;
  const Request* request = nullptr;
  DType dtype = DType::f32;
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

bool may_share(Op op) { return op == Op::allreduce || op == Op::broadcast; }

/// A plan's parameters are reduced, though the plan itself is "register_plan".
Op data_op(const Request& request) {
  return request.op == Op::register_plan ? Op::allreduce : request.op;
}

bool fits(const OpenBatch& batch, const Candidate& next, std::int64_t fusion_bytes_max) {
  const std::int64_t limit = fusion_bytes_max * (mutated(Mutation::oversize_batches) ? 2 : 1);
  const Request& a = *batch.request;
  const Request& b = *next.request;
  return batch.entry.channel == next.channel && batch.entry.absent == next.absent &&
         data_op(a) == data_op(b) && may_share(data_op(a)) && batch.dtype == next.tensor->dtype &&
         a.device == b.device && a.reduce_op == b.reduce_op && a.prescale == b.prescale &&
         a.postscale == b.postscale && a.root == b.root &&
         a.average_over_contributors == b.average_over_contributors &&
         batch.bytes + bytes_of(*next.tensor) <= limit;
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
  batches.push_back({LaunchEntry{next.channel, next.absent, {next.item}}, next.request,
                     next.tensor->dtype, bytes_of(*next.tensor)});
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
  for (OpenBatch& batch : batches) entries.push_back(std::move(batch.entry));
  return entries;
}

}  // namespace ringleader::protocol
