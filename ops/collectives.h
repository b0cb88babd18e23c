// SPDX-License-Identifier: Apache-2.0
//
// The collective operations. Each has a blocking form and an `_async` form that returns a Handle.
//
//   ringleader::allreduce("loss", ringleader::TensorView(&loss, {1}));
//
// Rules common to all:
// - Every member of the process set submits an operation of the same name; the ranks may submit
//   different operations in any order. A name may be reused once its operation has completed.
// - The ranks must agree on the operation, the element type, the shape (for allgather, alltoall and
//   exchange: all extents but the first), the reduction, the scale factors and the root. If they do
//   not, every rank gets Code::mismatch with the two ranks and the two values, and no memory is
//   changed.
// - Memory must stay valid and untouched until the operation has completed.
// - Errors common to all: not_initialized; duplicate_name if an operation of this name is in
//   flight on this rank; invalid_argument for arguments that are wrong by themselves; mismatch;
//   joined; shutdown; rank_lost; transport; unsupported.
// - `where` is the place of the call, which errors and reports name. Leave it at its default.
// - Blocking forms throw Error. `_async` forms throw Error for what is wrong on this rank alone;
//   Handle::wait() throws the rest.
#pragma once

#include <ringleader/core/source_location.h>
#include <ringleader/core/tensor.h>
#include <ringleader/core/types.h>
#include <ringleader/ops/handle.h>
#include <ringleader/ops/process_set.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace ringleader {

/// Options of a reduction.
struct ReduceOptions {
  double prescale = 1.0;   ///< multiplies every input element before the reduction
  double postscale = 1.0;  ///< multiplies every result element
  /// The ranks that take part; by default all.
  ProcessSet process_set = {};

  /// For averages only: divide by the number of ranks that contributed instead of the size of the
  /// process set. The two differ while some rank has joined.
  bool average_over_contributors = false;
};

/// Reduces a tensor over the ranks; every rank gets the result.
///
/// input   shape and element type equal on all ranks
/// output  same shape and element type; either the same memory as the input or not overlapping it
/// 16-bit floats are summed in 32 bits and rounded once. Minimum and maximum keep a NaN, whichever
/// rank has it. Denormals are kept, whatever the program has set. Integer averages are exact and
/// truncate toward zero. Sums and products of integers wrap around. Scale factors of integers are
/// applied in f64; the result is truncated and clamped to the range of the type.
Handle allreduce_async(std::string_view name, const ConstTensorView& input,
                       const TensorView& output, ReduceOp op = ReduceOp::average,
                       const ReduceOptions& options = {},
                       SourceLocation where = SourceLocation::current());
/// The same, blocking.
void allreduce(std::string_view name, const ConstTensorView& input, const TensorView& output,
               ReduceOp op = ReduceOp::average, const ReduceOptions& options = {},
               SourceLocation where = SourceLocation::current());

/// The same in place.
Handle allreduce_async(std::string_view name, const TensorView& tensor,
                       ReduceOp op = ReduceOp::average, const ReduceOptions& options = {},
                       SourceLocation where = SourceLocation::current());
/// The same, blocking.
void allreduce(std::string_view name, const TensorView& tensor, ReduceOp op = ReduceOp::average,
               const ReduceOptions& options = {}, SourceLocation where = SourceLocation::current());

/// Reduces several tensors in place, all or none of them. The group is one operation: it runs when
/// every rank has submitted all of it, and it fails as a whole. Element types may be mixed.
Handle grouped_allreduce_async(std::string_view name, const std::vector<TensorView>& tensors,
                               ReduceOp op = ReduceOp::average, const ReduceOptions& options = {},
                               SourceLocation where = SourceLocation::current());
/// The same, blocking.
void grouped_allreduce(std::string_view name, const std::vector<TensorView>& tensors,
                       ReduceOp op = ReduceOp::average, const ReduceOptions& options = {},
                       SourceLocation where = SourceLocation::current());

/// Concatenates the ranks' tensors along the first dimension, whose extent may differ by rank and
/// may be 0. The tensor must have at least one dimension. The result is the handle's output().
Handle allgather_async(std::string_view name, const ConstTensorView& input,
                       ProcessSet process_set = {},
                       SourceLocation where = SourceLocation::current());
/// The same, blocking; returns the result.
Output allgather(std::string_view name, const ConstTensorView& input, ProcessSet process_set = {},
                 SourceLocation where = SourceLocation::current());

/// Copies the root's tensor to all ranks. `root` is a world rank and a member of the set.
/// `output` may be the same memory as `input`. The root too gets the result in `output`.
Handle broadcast_async(std::string_view name, const ConstTensorView& input,
                       const TensorView& output, int root, ProcessSet process_set = {},
                       SourceLocation where = SourceLocation::current());
/// The same, blocking.
void broadcast(std::string_view name, const ConstTensorView& input, const TensorView& output,
               int root, ProcessSet process_set = {},
               SourceLocation where = SourceLocation::current());

/// The same in place.
Handle broadcast_async(std::string_view name, const TensorView& tensor, int root,
                       ProcessSet process_set = {},
                       SourceLocation where = SourceLocation::current());
/// The same, blocking.
void broadcast(std::string_view name, const TensorView& tensor, int root,
               ProcessSet process_set = {}, SourceLocation where = SourceLocation::current());

/// Reduces, then gives each rank its rows of the result; the first `rows % size` ranks get one
/// extra row. The tensor must have at least one dimension. The result is the handle's output().
Handle reduce_scatter_async(std::string_view name, const ConstTensorView& input,
                            ReduceOp op = ReduceOp::average, const ReduceOptions& options = {},
                            SourceLocation where = SourceLocation::current());
/// The same, blocking; returns the result.
Output reduce_scatter(std::string_view name, const ConstTensorView& input,
                      ReduceOp op = ReduceOp::average, const ReduceOptions& options = {},
                      SourceLocation where = SourceLocation::current());

/// Sends rows of the first dimension to the ranks: splits[i] rows to the i-th member of the set.
/// Empty splits mean equal parts; the number of rows must then be a multiple of the size. The
/// result is the handle's output(), whose rows() are the received splits.
Handle alltoall_async(std::string_view name, const ConstTensorView& input,
                      const std::vector<std::int64_t>& splits = {}, ProcessSet process_set = {},
                      SourceLocation where = SourceLocation::current());
/// The same, blocking; returns the result.
Output alltoall(std::string_view name, const ConstTensorView& input,
                const std::vector<std::int64_t>& splits = {}, ProcessSet process_set = {},
                SourceLocation where = SourceLocation::current());

/// Sends each member's tensor to at most one member, such as a neighbour or the next stage of a
/// pipeline. `to` must be equal on all ranks. It lists, for each member in order, the world rank
/// that receives its tensor, or -1; no rank may be listed twice. The tensors may differ in rows.
/// The result, the received tensor, is the handle's output(); it has no rows if this rank receives
/// nothing. rows() says from whom it came.
/// Errors: invalid_argument if `to` is not such a list; mismatch if ranks disagree about it.
Handle exchange_async(std::string_view name, const ConstTensorView& input,
                      const std::vector<int>& to, ProcessSet process_set = {},
                      SourceLocation where = SourceLocation::current());
/// The same, blocking; returns the result.
Output exchange(std::string_view name, const ConstTensorView& input, const std::vector<int>& to,
                ProcessSet process_set = {}, SourceLocation where = SourceLocation::current());

/// Returns when every member of the set has called it.
Handle barrier_async(ProcessSet process_set = {}, SourceLocation where = SourceLocation::current());
/// The same, blocking.
void barrier(ProcessSet process_set = {}, SourceLocation where = SourceLocation::current());

/// The same with a name, so that several threads of a rank may each wait in their own barrier.
Handle barrier_async(std::string_view name, ProcessSet process_set = {},
                     SourceLocation where = SourceLocation::current());
/// The same, blocking.
void barrier(std::string_view name, ProcessSet process_set = {},
             SourceLocation where = SourceLocation::current());

/// Announces that this rank has no more data. Until every member has joined, this rank takes part
/// in the others' allreduce operations with neutral elements (0 for sum and average, 1 for product,
/// the extreme values for min and max) and in their barriers; other operations fail with
/// Code::joined. Returns the rank that joined last, the same on all ranks. Only one thread of a
/// rank at a time may join a process set.
Handle join_async(ProcessSet process_set = {}, SourceLocation where = SourceLocation::current());
/// The same, blocking; returns the rank that joined last.
int join(ProcessSet process_set = {}, SourceLocation where = SourceLocation::current());

// Deleted because a temporary would be gone before the operation has completed.
template <typename T, typename A, typename... Rest>
Handle allreduce_async(std::string_view, const std::vector<T, A>&&, Rest&&...) = delete;
template <typename T, typename A, typename... Rest>
Handle allgather_async(std::string_view, const std::vector<T, A>&&, Rest&&...) = delete;
template <typename T, typename A, typename... Rest>
Handle broadcast_async(std::string_view, const std::vector<T, A>&&, Rest&&...) = delete;
template <typename T, typename A, typename... Rest>
Handle reduce_scatter_async(std::string_view, const std::vector<T, A>&&, Rest&&...) = delete;
template <typename T, typename A, typename... Rest>
Handle alltoall_async(std::string_view, const std::vector<T, A>&&, Rest&&...) = delete;
template <typename T, typename A, typename... Rest>
Handle exchange_async(std::string_view, const std::vector<T, A>&&, Rest&&...) = delete;

}  // namespace ringleader
