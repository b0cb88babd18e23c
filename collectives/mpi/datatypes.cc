// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/mpi/datatypes.h>

#include <ringleader/collectives/kernels/reduce.h>

namespace ringleader::mpi {
namespace {

/// Elements of one piece of a BlockType; fits an int.
constexpr std::int64_t kPiece = 1 << 30;

template <ReduceOp kOp, typename T>
void combine_floats(void* in, void* in_and_out, int* count, MPI_Datatype* /*type*/) {
  kernels::combine(dtype_of<T>(), kOp, in_and_out, in, *count);
}

/// MPI_MIN and MPI_MAX may lose NaN (MPI 3.1, 5.9.2), so these replace them. They are made once per
/// process; MPI frees them when it ends.
MPI_Op extreme_of_floats(ReduceOp op, DType dtype) {
  const auto make = [](MPI_User_function* function) {
    MPI_Op made = MPI_OP_NULL;
    MPI_Op_create(function, 1, &made);
    return made;
  };
  static const MPI_Op kOps[2][2] = {
      {make(combine_floats<ReduceOp::min, float>), make(combine_floats<ReduceOp::min, double>)},
      {make(combine_floats<ReduceOp::max, float>), make(combine_floats<ReduceOp::max, double>)}};
  return kOps[op == ReduceOp::max ? 1 : 0][dtype == DType::f64 ? 1 : 0];
}

}  // namespace

MPI_Datatype datatype_of(DType dtype) {
  switch (dtype) {
    case DType::u8:
      return MPI_UINT8_T;
    case DType::i8:
      return MPI_INT8_T;
    case DType::i16:
      return MPI_INT16_T;
    case DType::i32:
      return MPI_INT32_T;
    case DType::i64:
      return MPI_INT64_T;
    case DType::f16:
    case DType::bf16:
      return MPI_UINT16_T;
    case DType::f32:
      return MPI_FLOAT;
    case DType::f64:
      return MPI_DOUBLE;
  }
  return MPI_DATATYPE_NULL;
}

MPI_Op op_keeping_nan(ReduceOp op, DType dtype) {
  const bool extreme = op == ReduceOp::min || op == ReduceOp::max;
  return extreme && is_floating_point(dtype) ? extreme_of_floats(op, dtype) : op_of(op);
}

MPI_Op op_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
    case ReduceOp::average:
      return MPI_SUM;
    case ReduceOp::min:
      return MPI_MIN;
    case ReduceOp::max:
      return MPI_MAX;
    case ReduceOp::product:
      return MPI_PROD;
  }
  return MPI_OP_NULL;
}

Result<BlockType> BlockType::make(DType dtype, std::int64_t offset, std::int64_t count) {
  const MPI_Datatype element = datatype_of(dtype);
  const auto bytes = static_cast<std::int64_t>(size_of(dtype));
  const std::int64_t whole = count / kPiece;
  // `whole` pieces of kPiece elements, then the rest.
  MPI_Datatype piece = MPI_DATATYPE_NULL;
  MPI_Datatype pieces = MPI_DATATYPE_NULL;
  MPI_Datatype rest = MPI_DATATYPE_NULL;
  RL_MPI_RETURN_IF_ERROR(MPI_Type_contiguous(static_cast<int>(kPiece), element, &piece));
  RL_MPI_RETURN_IF_ERROR(MPI_Type_contiguous(static_cast<int>(whole), piece, &pieces));
  RL_MPI_RETURN_IF_ERROR(MPI_Type_contiguous(static_cast<int>(count % kPiece), element, &rest));
  const int lengths[] = {1, 1};
  const MPI_Aint displacements[] = {static_cast<MPI_Aint>(offset * bytes),
                                    static_cast<MPI_Aint>((offset + whole * kPiece) * bytes)};
  const MPI_Datatype types[] = {pieces, rest};
  BlockType block;
  RL_MPI_RETURN_IF_ERROR(MPI_Type_create_struct(2, lengths, displacements, types, &block.type_));
  RL_MPI_RETURN_IF_ERROR(MPI_Type_commit(&block.type_));
  for (MPI_Datatype* type : {&piece, &pieces, &rest}) {
    RL_MPI_RETURN_IF_ERROR(MPI_Type_free(type));
  }
  return block;
}

BlockType::~BlockType() {
  if (type_ != MPI_DATATYPE_NULL) MPI_Type_free(&type_);
}

}  // namespace ringleader::mpi
