// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/nccl/transfer.h>

#include <algorithm>
#include <functional>
#include <utility>

namespace ringleader::nccl {
namespace {

const std::byte* end_of(const void* memory, std::int64_t count, DType dtype) {
  return static_cast<const std::byte*>(memory) + count * static_cast<std::int64_t>(size_of(dtype));
}

/// Whether the tensors are contiguous, as inputs and as outputs, in the type that travels.
bool contiguous(const Batch& batch) {
  if (batch.tensors[0].wire_type_differs) return false;
  for (std::size_t i = 1; i < batch.tensors.size(); ++i) {
    const BatchTensor& before = batch.tensors[i - 1];
    const BatchTensor& tensor = batch.tensors[i];
    if (tensor.wire_type_differs) return false;
    if (tensor.input != end_of(before.input, before.count, batch.dtype)) return false;
    if (tensor.output != end_of(before.output, before.count, batch.dtype)) return false;
  }
  return true;
}

/// The type that travels, in which partial results of integers lose nothing. NCCL has no 16-bit
/// integers. 16-bit floats travel as they are: NCCL rounds them at every rank that they pass.
DType wire_of(const Batch& batch, bool scales) {
  const bool widens = batch.dtype == DType::i16 || (scales && !is_floating_point(batch.dtype));
  return widens ? DType::i64 : batch.dtype;
}

std::int64_t aligned(std::int64_t count, DType wire) {
  const std::int64_t step = kPieceAlignment / static_cast<std::int64_t>(size_of(wire));
  return (count + step - 1) / step * step;
}

/// Tables of pieces, by type.
class Tables {
 public:
  Tables(const Batch& batch, const Transfer& transfer, std::pmr::memory_resource* memory)
      : pieces_max_(std::max(batch.tensors.size(), batch.block_counts.size())),
        wire_(transfer.wire),
        memory_(memory) {}

  void add(DType type, const void* data, std::int64_t count, std::int64_t wire_begin) {
    if (count == 0) return;
    const auto of_type = [type](const FusionTable& table) { return table.type == type; };
    auto table = std::find_if(tables_.begin(), tables_.end(), of_type);
    if (table == tables_.end()) {
      table = tables_.emplace(tables_.end(), type, memory_);
      table->tile_elements =
          kTileBytes / static_cast<std::int64_t>(std::max(size_of(type), size_of(wire_)));
      table->pieces.reserve(pieces_max_);
    }
    table->add(data, count, wire_begin);
  }

  std::vector<FusionTable> take() { return std::move(tables_); }

 private:
  std::size_t pieces_max_;
  DType wire_;
  std::pmr::memory_resource* memory_;
  std::vector<FusionTable> tables_;
};

DType type_of(const Batch& batch, const BatchTensor& tensor) {
  return tensor.wire_type_differs ? DType::f32 : batch.dtype;
}

}  // namespace

bool even(const std::vector<std::int64_t>& counts) {
  return std::adjacent_find(counts.begin(), counts.end(), std::not_equal_to<>()) == counts.end();
}

Transfer transfer_of(const Batch& batch) {
  const std::int64_t divisor = batch.reduce_op == ReduceOp::average ? batch.divisor : 1;
  const bool scales = batch.prescale != 1.0 || batch.postscale != 1.0 || divisor != 1;
  const bool sums = batch.reduce_op == ReduceOp::sum || batch.reduce_op == ReduceOp::average;
  const bool wide = batch.dtype == DType::f32 || batch.dtype == DType::f64;
  const bool even_blocks = batch.op != Op::reduce_scatter || even(batch.block_counts);

  Transfer transfer;
  transfer.wire = wire_of(batch, scales);
  const bool converts = transfer.wire != batch.dtype || !even_blocks || (scales && !(wide && sums));
  if (converts) {
    // The sum of many f16 values may be too large for f16 even if their mean is not.
    const bool narrow = batch.dtype == DType::f16;
    transfer.before = batch.prescale / static_cast<double>(narrow ? divisor : 1);
    transfer.after = batch.postscale;
    transfer.divisor = narrow ? 1 : divisor;
  } else {
    transfer.factor = batch.prescale * batch.postscale / static_cast<double>(divisor);
  }
  transfer.count = batch.op == Op::reduce_scatter && !even_blocks
                       ? block_of(batch, transfer) * batch.group->size()
                       : batch.count();
  transfer.packs = converts || !contiguous(batch);
  if (!transfer.packs) {
    transfer.input = batch.tensors[0].input;
    transfer.output = batch.tensors[0].output;
  }
  return transfer;
}

void FusionTable::add(const void* memory, std::int64_t count, std::int64_t wire_begin) {
  if (count == 0) return;
  // Inputs are only read.
  auto* const data = static_cast<std::byte*>(const_cast<void*>(memory));
  pieces.push_back({data, count, wire_begin, tiles});
  tiles += (count + tile_elements - 1) / tile_elements;
}

std::vector<FusionTable> inputs_of(const Batch& batch, const Transfer& transfer,
                                   std::pmr::memory_resource* memory) {
  Tables tables(batch, transfer, memory);
  std::int64_t wire_begin = 0;
  if (batch.op == Op::reduce_scatter) {
    const auto* block = static_cast<const std::byte*>(batch.tensors[0].input);
    for (const std::int64_t count : batch.block_counts) {
      tables.add(batch.dtype, block, count, wire_begin);
      block = end_of(block, count, batch.dtype);
      wire_begin += block_of(batch, transfer);
    }
    return tables.take();
  }
  for (const BatchTensor& tensor : batch.tensors) {
    tables.add(type_of(batch, tensor), tensor.input, tensor.count, wire_begin);
    wire_begin += tensor.count;
  }
  return tables.take();
}

std::vector<FusionTable> outputs_of(const Batch& batch, const Transfer& transfer,
                                    std::pmr::memory_resource* memory) {
  Tables tables(batch, transfer, memory);
  if (batch.op == Op::reduce_scatter) {
    const auto rank = static_cast<std::size_t>(batch.group->rank);
    const std::int64_t begin = block_of(batch, transfer) * batch.group->rank;
    tables.add(batch.dtype, batch.tensors[0].output, batch.block_counts[rank], begin);
    return tables.take();
  }
  std::int64_t wire_begin = 0;
  for (const BatchTensor& tensor : batch.tensors) {
    tables.add(type_of(batch, tensor), tensor.output, tensor.count, wire_begin);
    wire_begin += tensor.count;
  }
  return tables.take();
}

std::int64_t block_of(const Batch& batch, const Transfer& transfer) {
  if (even(batch.block_counts)) return batch.block_counts[0];
  const auto longest = std::max_element(batch.block_counts.begin(), batch.block_counts.end());
  return aligned(*longest, transfer.wire);
}

}  // namespace ringleader::nccl
