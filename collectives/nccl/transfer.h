// SPDX-License-Identifier: Apache-2.0
//
// Transfer: how a batch to be reduced goes to NCCL, and what the kernels do before and after. This
// is arithmetic on sizes and addresses only: it touches no device memory and needs no GPU.
//
//   directly   one tensor, or tensors that are contiguous as in an arena: NCCL reads and writes the
//              user's memory
//   packed     all others: one kernel packs the tensors into one buffer, NCCL reduces the
//              buffer, and one kernel unpacks it
//
// The addresses of tensors may differ by rank, so they decide only whether a rank copies. Facts
// that are equal on all ranks decide everything else: the elements that travel and their order,
// NCCL's operation, and whether the kernels convert and scale (then all ranks pack) or NCCL
// multiplies.
#pragma once

#include <ringleader/core/batch.h>
#include <ringleader/core/types.h>

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <vector>

namespace ringleader::nccl {

struct Transfer {
  DType wire = DType::f32;  ///< element type that travels
  std::int64_t count = 0;   ///< elements that each rank sends, gaps in the buffer included
  double factor = 1.0;      ///< by which NCCL multiplies every input

  bool packs = false;           ///< may differ by rank
  const void* input = nullptr;  ///< if it does not pack
  void* output = nullptr;

  // What the kernels do on the way:
  double before = 1.0;       ///< factor of every input
  double after = 1.0;        ///< factor of every result, after the division
  std::int64_t divisor = 1;  ///< of every result; exact for integers
};

/// The transfer of an allreduce or a reduce_scatter.
Transfer transfer_of(const Batch& batch);

/// A tensor, or a block of one, and its place in the buffer. A kernel reads this layout.
struct Piece {
  std::byte* memory = nullptr;
  std::int64_t count = 0;       ///< elements
  std::int64_t wire_begin = 0;  ///< element of the buffer at which it begins
  std::int64_t first_tile = 0;  ///< tiles of the pieces before it
};

/// The unit of work of a thread block. Work is divided by bytes, so that one large tensor and many
/// small ones keep all processors equally busy.
constexpr std::int64_t kTileBytes = 32 << 10;

/// In bytes. The blocks of an uneven reduce_scatter begin at multiples of this in the buffer, so
/// that it can be accessed 16 bytes at a time. Tensors have no gaps between them, as in an arena.
constexpr std::int64_t kPieceAlignment = 16;

struct FusionTable {
  explicit FusionTable(DType of = DType::f32,
                       std::pmr::memory_resource* memory = std::pmr::get_default_resource())
      : type(of), pieces(memory) {}

  DType type;  ///< of the tensors

  std::pmr::vector<Piece> pieces;  ///< none is empty
  std::int64_t tiles = 0;
  std::int64_t tile_elements = 0;

  void add(const void* memory, std::int64_t count, std::int64_t wire_begin);
};

/// The tables for packing and for unpacking a packed transfer, with the pieces in `memory`. There
/// is one table for each type of the tensors, and none is empty.
std::vector<FusionTable> inputs_of(
    const Batch& batch, const Transfer& transfer,
    std::pmr::memory_resource* memory = std::pmr::get_default_resource());
std::vector<FusionTable> outputs_of(
    const Batch& batch, const Transfer& transfer,
    std::pmr::memory_resource* memory = std::pmr::get_default_resource());

/// reduce_scatter: elements of the buffer for each rank.
std::int64_t block_of(const Batch& batch, const Transfer& transfer);

/// Whether all ranks have blocks of the same size.
bool even(const std::vector<std::int64_t>& counts);

}  // namespace ringleader::nccl
