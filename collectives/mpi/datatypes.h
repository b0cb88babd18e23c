// SPDX-License-Identifier: Apache-2.0
//
// Our element types and reductions in MPI's terms.
#pragma once

#include <ringleader/collectives/mpi_transport/checked.h>
#include <ringleader/core/result.h>
#include <ringleader/core/types.h>

#include <cstdint>
#include <utility>

namespace ringleader::mpi {

/// The MPI type of the same size and meaning. f16 and bf16 are moved as 16-bit integers; MPI
/// cannot reduce them.
MPI_Datatype datatype_of(DType dtype);

MPI_Op op_of(ReduceOp op);

/// Like op_of(), but the minimum and maximum of floats keep NaN, whichever rank has it.
MPI_Op op_keeping_nan(ReduceOp op, DType dtype);

/// A derived type of `count` elements that begin `offset` elements after the buffer's start; its
/// count may exceed an int. Move-only; frees the type.
class BlockType {
 public:
  BlockType() = default;
  BlockType(BlockType&& other) noexcept : type_(std::exchange(other.type_, MPI_DATATYPE_NULL)) {}
  BlockType& operator=(BlockType&& other) noexcept {
    std::swap(type_, other.type_);
    return *this;
  }
  ~BlockType();

  static Result<BlockType> make(DType dtype, std::int64_t offset, std::int64_t count);

  MPI_Datatype get() const { return type_; }

 private:
  MPI_Datatype type_ = MPI_DATATYPE_NULL;
};

}  // namespace ringleader::mpi
