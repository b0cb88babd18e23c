// SPDX-License-Identifier: Apache-2.0
//
// Transfer: how a reduction of a batch goes to NCCL, and what the kernels do around it. Arithmetic
// on sizes and addresses only: no byte of device memory is touched, and no GPU needed.
//
//   directly   one tensor, or tensors that lie one behind the other as in an arena: NCCL reads and
//              writes the user's memory
//   packed     all others: one kernel collects the tensors in one buffer, NCCL reduces that, and
//              one kernel spreads it
//
// Where tensors lie is a rank's own affair, so it decides on nothing but the copy. What is the same
// on all ranks decides on all else: the elements that travel and their order, NCCL's operation, and
// whether the kernels convert and scale (then all ranks pack) or NCCL multiplies.
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
  const void* input = nullptr;  ///< where it does not
  void* output = nullptr;

  // What the kernels do on the way:
  double before = 1.0;       ///< factor of every input
  double after = 1.0;        ///< factor of every result, after the division
  std::int64_t divisor = 1;  ///< of every result; exact for integers
};

/// Of an allreduce, or of a reduce_scatter.
Transfer transfer_of(const Batch& batch);

/// A tensor, or a block of one, and its place in the buffer. The layout is read by a kernel.
struct Piece {
  std::byte* memory = nullptr;
  std::int64_t count = 0;       ///< elements
  std::int64_t wire_begin = 0;  ///< element of the buffer at which it begins
  std::int64_t first_tile = 0;  ///< tiles of the pieces before it
};

/// The unit of work of a thread block. Work is cut by bytes, so that one large tensor and many
/// small ones keep all processors busy alike.
constexpr std::int64_t kTileBytes = 32 << 10;

/// Blocks of an uneven reduce_scatter begin at multiples of this in the buffer, so that it can be
/// accessed 16 bytes at a time. Tensors lie there without gaps, as they would in an arena.
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

/// For packing and for unpacking a packed transfer, with the pieces in `memory`: a table for each
/// type of the tensors, none of them empty.
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
