// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/runtime/batch_builder.h>

#include <ringleader/core/check.h>

#include <fmt/core.h>
#include <sys/mman.h>

#include <algorithm>
#include <limits>
#include <new>
#include <utility>

namespace ringleader::runtime {
namespace {

/// Ranks ask each other whether all have memory for a result of this many bytes or more. Asking
/// takes as long as a small operation; a rank without memory for less cannot go on anyway.
constexpr std::int64_t kConsentBytes = 1 << 20;

/// Allocations of this size or more go to the kernel itself, which refuses where an allocator (a
/// sanitizer's, for example) may end the process.
constexpr std::size_t kMapBytes = std::size_t{1} << 30;

constexpr std::align_val_t kAlignment{64};  // a cache line, and the widest vector register

/// Elements in one row: the product of all extents but the first.
std::int64_t row_count(const Shape& shape) {
  return count_of(Shape(shape.begin() + 1, shape.end()));
}

Status no_device() {
  return Status(Code::unsupported, "no backend of this build reaches device memory");
}

Status no_memory(std::size_t bytes) {
  return Status(Code::no_memory, fmt::format("no memory for {} bytes", bytes));
}

Result<std::shared_ptr<std::byte>> allocate(const Memory& memory, Device device,
                                            std::size_t bytes) {
  if (device == Device::host) {
    auto allocated = allocate_bytes(bytes);
    if (allocated == nullptr) return no_memory(bytes);
    return allocated;
  }
  if (memory.device == nullptr) return no_device();
  return memory.device->allocate(bytes);
}

/// What a joined rank contributes.
Result<std::shared_ptr<std::byte>> allocate_neutral(const Memory& memory, const Batch& batch,
                                                    std::int64_t count) {
  if (batch.device != Device::host) {
    if (memory.device == nullptr) return no_device();
    return memory.device->allocate_neutral(count, batch.dtype, batch.reduce_op);
  }
  const std::size_t bytes = static_cast<std::size_t>(count) * size_of(batch.dtype);
  auto neutral = allocate_bytes(bytes);
  if (neutral == nullptr) return no_memory(bytes);
  memory.fill_neutral(neutral.get(), count, batch.dtype, batch.reduce_op);
  return neutral;
}

/// The result of allgather, reduce_scatter and alltoall belongs to the operation.
Status make_output(const Memory& memory, PreparedBatch& prepared,
                   const std::vector<std::int64_t>& rows_per_rank, std::int64_t rows) {
  Operation& operation = *prepared.operations[0];
  Shape shape = operation.input_shape;
  shape[0] = rows;
  const auto count = static_cast<std::size_t>(count_of(shape));
  const Batch& batch = prepared.batch;
  const std::size_t bytes = count * size_of(batch.dtype);
  auto storage = allocate(memory, batch.device, bytes);
  if (storage.status().code() == Code::no_memory && prepared.may_refuse) {
    prepared.bytes_lacking = std::max<std::int64_t>(1, static_cast<std::int64_t>(bytes));
    return Status();  // the other ranks are told first
  }
  if (!storage.ok()) return storage.status();
  const TensorView view(storage->get(), std::move(shape), batch.dtype, batch.device);
  operation.output = Output(std::move(*storage), view, rows_per_rank);
  prepared.batch.tensors[0].output = view.data();
  return Status();
}

/// Each rank's share of the rows; the first shares have one extra row.
std::int64_t rows_of(const Shape& shape, int ranks, int rank) {
  const auto [begin, end] = share_of(shape[0], ranks, rank);
  return end - begin;
}

/// exchange: the member that gets this member's tensor, and the member it gets one from; -1: none.
struct Peers {
  int to = -1;
  int from = -1;
};
Peers peers_of(const std::vector<std::int32_t>& destinations, const Group& group) {
  const auto index_of = [&](std::int32_t rank) {
    const auto found = std::lower_bound(group.ranks.begin(), group.ranks.end(), rank);
    return static_cast<int>(found - group.ranks.begin());
  };
  Peers peers;
  for (std::size_t member = 0; member < destinations.size(); ++member) {
    if (destinations[member] < 0) continue;
    const int receiver = index_of(destinations[member]);
    if (receiver == group.rank) peers.from = static_cast<int>(member);
    if (static_cast<int>(member) == group.rank) peers.to = receiver;
  }
  return peers;
}

/// A plan's parameter: all sizes are known, and the result goes to the user's memory.
Status plan_blocks(const protocol::TensorSpec& tensor, const Memory& memory,
                   PreparedBatch& prepared) {
  Batch& batch = prepared.batch;
  const int size = batch.group->size();
  const auto members = static_cast<std::size_t>(size);
  std::int64_t output = 0;
  switch (batch.op) {
    case Op::allgather:
      batch.block_counts.assign(members, batch.count());
      output = size * batch.count();
      break;
    case Op::exchange: {
      const Peers peers = peers_of(tensor.to, *batch.group);
      batch.send_counts.assign(members, 0);
      batch.block_counts.assign(members, 0);
      output = peers.from < 0 ? 0 : batch.count();
      if (peers.from >= 0) batch.block_counts[static_cast<std::size_t>(peers.from)] = output;
      // A member that sends nothing still has a tensor, which stays here.
      if (peers.to < 0) batch.tensors[0].count = 0;
      if (peers.to >= 0) batch.send_counts[static_cast<std::size_t>(peers.to)] = batch.count();
      break;
    }
    case Op::reduce_scatter:
      for (int i = 0; i < size; ++i) {
        batch.block_counts.push_back(rows_of(tensor.shape, size, i) * row_count(tensor.shape));
      }
      output = batch.block_counts[static_cast<std::size_t>(batch.group->rank)];
      break;
    default:
      RL_CHECK(false, "a plan's parameter without blocks");
  }
  if (prepared.operations[0] != nullptr) return Status();
  // The batch lacks some rank's data and fails, so nobody sees its result.
  auto scratch =
      allocate(memory, batch.device, static_cast<std::size_t>(output) * size_of(batch.dtype));
  if (!scratch.ok()) return scratch.status();
  batch.tensors[0].output = scratch->get();
  prepared.scratch.push_back(std::move(*scratch));
  return Status();
}

Status split_rows(const Memory& memory, PreparedBatch& prepared) {
  Batch& batch = prepared.batch;
  const Shape& shape = prepared.operations[0]->input_shape;
  const int size = batch.group->size();
  std::vector<std::int64_t> rows;
  for (int i = 0; i < size; ++i) {
    rows.push_back(rows_of(shape, size, i));
    batch.block_counts.push_back(rows.back() * row_count(shape));
  }
  prepared.may_refuse =
      batch.count() * static_cast<std::int64_t>(size_of(batch.dtype)) >= kConsentBytes;
  return make_output(memory, prepared, rows, rows[static_cast<std::size_t>(batch.group->rank)]);
}

void prepare_sizes(PreparedBatch& prepared) {
  const Operation& operation = *prepared.operations[0];
  const auto size = static_cast<std::size_t>(prepared.batch.group->size());
  if (prepared.batch.op == Op::allgather) {
    prepared.sizes_out = {operation.input_shape[0]};
  } else {
    prepared.sizes_out = operation.split_rows;
    if (prepared.batch.op == Op::exchange) {
      const auto& request = std::get<protocol::Request>(operation.request);
      const int to = peers_of(request.ranks, *prepared.batch.group).to;
      prepared.sizes_out.assign(size, 0);
      if (to >= 0) prepared.sizes_out[static_cast<std::size_t>(to)] = operation.input_shape[0];
      if (to < 0) prepared.batch.tensors[0].count = 0;
    }
    for (const std::int64_t rows : prepared.sizes_out) {
      prepared.batch.send_counts.push_back(rows * row_count(operation.input_shape));
    }
  }
  prepared.sizes_in.resize(size);
}

}  // namespace

std::shared_ptr<std::byte> allocate_bytes(std::size_t bytes) {
  if (bytes >= kMapBytes) {
    void* const mapped =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    return {static_cast<std::byte*>(mapped),
            [bytes](std::byte* memory) { ::munmap(memory, bytes); }};
  }
  auto* memory = static_cast<std::byte*>(
      ::operator new(std::max<std::size_t>(bytes, 1), kAlignment, std::nothrow));
  if (memory == nullptr) return nullptr;
  return {memory, [](std::byte* pointer) { ::operator delete(pointer, kAlignment); }};
}

void PreparedBatch::clear() {
  may_refuse = false;
  bytes_lacking = 0;
  consent_in.clear();
  operations.clear();
  scratch.clear();
  sizes_out.clear();
  sizes_in.clear();
  batch.group.reset();
  batch.tensors.clear();
  batch.block_counts.clear();
  batch.send_counts.clear();
  batch.ready.clear();
}

Status prepare(const protocol::Launch& launch, std::shared_ptr<const Group> group,
               const Memory& memory, PreparedBatch& prepared) {
  const protocol::Request& request = *launch.request;
  prepared.launch_id = launch.id;
  Batch& batch = prepared.batch;
  batch.op = launch.op;
  batch.dtype = launch.dtype;
  batch.device = request.device;
  batch.reduce_op = request.reduce_op;
  batch.prescale = request.prescale;
  batch.postscale = request.postscale;
  batch.divisor = request.average_over_contributors ? launch.contributors : group->size();
  const auto root = std::find(group->ranks.begin(), group->ranks.end(), launch.root);
  batch.root = root == group->ranks.end() ? 0 : static_cast<int>(root - group->ranks.begin());
  batch.group = std::move(group);

  for (std::size_t i = 0; i < launch.items.size(); ++i) {
    const protocol::LaunchItem& item = launch.items[i];
    BatchTensor tensor{nullptr, nullptr, item.count};
    if (const auto& operation = prepared.operations[i]) {
      tensor.input = operation->buffers[item.tensor].input;
      tensor.output = operation->buffers[item.tensor].output;
      tensor.wire_type_differs = operation->buffers[item.tensor].wire_type_differs;
      if (!operation->input_shape.empty()) tensor.count = count_of(operation->input_shape);
      const bool same = i > 0 && prepared.operations[i - 1] == operation;  // a group's tensors
      if (!same) {
        for (const auto& event : operation->ready) batch.ready.push_back(event.get());
      }
    } else {
      auto neutral = allocate_neutral(memory, batch, item.count);
      if (!neutral.ok()) return neutral.status();
      tensor.input = tensor.output = neutral->get();
      prepared.scratch.push_back(std::move(*neutral));
    }
    batch.tensors.push_back(tensor);
  }
  const bool has_blocks = batch.op != Op::allreduce && batch.op != Op::broadcast;
  if (request.kind == protocol::RequestKind::register_plan) {
    return has_blocks ? plan_blocks(request.tensors[launch.items[0].parameter], memory, prepared)
                      : Status();
  }
  if (has_blocks && batch.op != Op::reduce_scatter) prepare_sizes(prepared);
  return batch.op == Op::reduce_scatter ? split_rows(memory, prepared) : Status();
}

bool needs_sizes(const PreparedBatch& prepared) { return !prepared.sizes_in.empty(); }

Batch sizes_batch(PreparedBatch& prepared) {
  Batch batch;
  batch.group = prepared.batch.group;
  // In an exchange all tell all what they send: the others do not know it.
  batch.op = prepared.batch.op == Op::allgather ? Op::allgather : Op::alltoall;
  batch.dtype = DType::i64;
  batch.tensors = {{prepared.sizes_out.data(), prepared.sizes_in.data(),
                    static_cast<std::int64_t>(prepared.sizes_out.size())}};
  batch.block_counts.assign(prepared.sizes_in.size(), 1);
  if (batch.op == Op::alltoall) batch.send_counts = batch.block_counts;
  return batch;
}

Status complete_sizes(const Memory& memory, PreparedBatch& prepared) {
  const std::int64_t row = row_count(prepared.operations[0]->input_shape);
  const auto element = static_cast<std::int64_t>(size_of(prepared.batch.dtype));
  // The sizes come from other processes: no sum of them may overflow.
  std::int64_t left =
      std::numeric_limits<std::int64_t>::max() / std::max<std::int64_t>(row, 1) / element;
  std::int64_t total = 0;
  for (const std::int64_t rows : prepared.sizes_in) {
    if (rows < 0 || rows > left) {
      return Status(Code::bad_message, fmt::format("a rank tells of {} rows", rows));
    }
    left -= rows;
    total += rows;
    prepared.batch.block_counts.push_back(rows * row);
  }
  // In alltoall and exchange each rank gets a different result, whose size the others do not know.
  prepared.may_refuse =
      prepared.batch.op != Op::allgather || total * row * element >= kConsentBytes;
  return make_output(memory, prepared, prepared.sizes_in, total);
}

bool needs_consent(const PreparedBatch& prepared) { return prepared.may_refuse; }

Batch consent_batch(PreparedBatch& prepared) {
  Batch batch;
  batch.group = prepared.batch.group;
  batch.op = Op::allgather;
  batch.dtype = DType::i64;
  prepared.consent_in.assign(static_cast<std::size_t>(batch.group->size()), 0);
  batch.tensors = {{&prepared.bytes_lacking, prepared.consent_in.data(), 1}};
  batch.block_counts.assign(prepared.consent_in.size(), 1);
  return batch;
}

Status consent(const PreparedBatch& prepared) {
  for (std::size_t i = 0; i < prepared.consent_in.size(); ++i) {
    if (prepared.consent_in[i] == 0) continue;
    const auto& request = std::get<protocol::Request>(prepared.operations[0]->request);
    return Status(Code::no_memory,
                  fmt::format("{}: rank {} has no memory for a result of {} bytes",
                              protocol::describe(request), prepared.batch.group->ranks[i],
                              prepared.consent_in[i]));
  }
  return Status();
}

}  // namespace ringleader::runtime
