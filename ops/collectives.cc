// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/collectives.h>

#include <ringleader/core/runtime/runtime.h>
#include <ringleader/ops/session/arguments.h>
#include <ringleader/ops/session/current_session.h>

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

namespace ringleader {
namespace {

using protocol::RequestKind;

protocol::Request make_request(Op op, std::string_view name, const ProcessSet& process_set) {
  protocol::Request request;
  request.op = op;
  request.name = name;
  request.process_set = process_set.id;
  return request;
}

protocol::Request make_request(RequestKind kind, std::string_view name,
                               const ProcessSet& process_set) {
  protocol::Request request = make_request(Op::allreduce, name, process_set);
  request.kind = kind;
  return request;
}

protocol::Request make_reduction(Op op, std::string_view name, ReduceOp reduce_op,
                                 const ReduceOptions& options) {
  protocol::Request request = make_request(op, name, options.process_set);
  request.reduce_op = reduce_op;
  request.prescale = options.prescale;
  request.postscale = options.postscale;
  request.average_over_contributors = options.average_over_contributors;
  check_name(request);
  check_reduction(request);
  const bool sums = reduce_op == ReduceOp::sum || reduce_op == ReduceOp::average;
  if (options.prescale != 1.0 && !sums) {
    refuse(request, "prescale applies to sum and average only");
  }
  return request;
}

/// Adds the user's stream of a tensor in device memory, unless it is already listed.
void add_stream(Operation& operation, const ConstTensorView& tensor) {
  if (tensor.device() == Device::host) return;
  auto& streams = operation.streams;
  const bool known = std::find(streams.begin(), streams.end(), tensor.stream()) != streams.end();
  if (!known) streams.push_back(tensor.stream());
}

void add_tensor(protocol::Request& request, const ConstTensorView& tensor) {
  request.device = tensor.device();  // the ranks must agree first; then a backend must support it
  request.tensors.push_back({"", tensor.shape(), tensor.dtype()});
}

std::shared_ptr<Operation> with_output(protocol::Request request, const ConstTensorView& input) {
  check_rows(request, input);
  add_tensor(request, input);
  auto operation = make_operation(std::move(request));
  operation->buffers.push_back({input.data(), nullptr});
  operation->input_shape = input.shape();
  add_stream(*operation, input);
  return operation;
}

std::shared_ptr<Operation> with_buffers(protocol::Request request, const ConstTensorView& input,
                                        const TensorView& output) {
  auto operation = make_operation(std::move(request));
  operation->buffers.push_back({input.data(), output.data()});
  add_stream(*operation, input);
  add_stream(*operation, output);
  return operation;
}

// Each verb is described once, here; its blocking and asynchronous forms submit the same operation.

std::shared_ptr<Operation> describe_allreduce(std::string_view name, const ConstTensorView& input,
                                              const TensorView& output, ReduceOp op,
                                              const ReduceOptions& options) {
  protocol::Request request = make_reduction(Op::allreduce, name, op, options);
  check_pair(request, input, output);
  add_tensor(request, input);
  return with_buffers(std::move(request), input, output);
}

std::shared_ptr<Operation> describe_group(std::string_view name,
                                          const std::vector<TensorView>& tensors, ReduceOp op,
                                          const ReduceOptions& options) {
  protocol::Request request = make_reduction(Op::allreduce, name, op, options);
  if (tensors.empty()) refuse(request, "the group has no tensors");
  check_disjoint(request, tensors);
  std::vector<TensorBuffers> buffers;
  for (const TensorView& tensor : tensors) {
    check_tensor(request, tensor);
    if (tensor.device() != tensors[0].device()) refuse(request, "the group mixes kinds of memory");
    add_tensor(request, tensor);
    buffers.push_back({tensor.data(), tensor.data()});
  }
  auto operation = make_operation(std::move(request));
  operation->buffers = std::move(buffers);
  for (const TensorView& tensor : tensors) add_stream(*operation, tensor);
  return operation;
}

std::shared_ptr<Operation> describe_allgather(std::string_view name, const ConstTensorView& input,
                                              const ProcessSet& process_set) {
  protocol::Request request = make_request(Op::allgather, name, process_set);
  check_name(request);
  return with_output(std::move(request), input);
}

std::shared_ptr<Operation> describe_broadcast(std::string_view name, const ConstTensorView& input,
                                              const TensorView& output, int root,
                                              const ProcessSet& process_set) {
  protocol::Request request = make_request(Op::broadcast, name, process_set);
  check_name(request);
  check_pair(request, input, output);
  if (!process_set.includes(root)) {
    refuse(request, fmt::format("the root {} is not a member of the process set", root));
  }
  request.root = root;
  add_tensor(request, input);
  return with_buffers(std::move(request), input, output);
}

std::shared_ptr<Operation> describe_alltoall(std::string_view name, const ConstTensorView& input,
                                             std::vector<std::int64_t> splits,
                                             const ProcessSet& process_set) {
  protocol::Request request = make_request(Op::alltoall, name, process_set);
  check_name(request);
  check_rows(request, input);
  const auto size = static_cast<std::size_t>(process_set.size());
  const std::int64_t rows = input.shape()[0];
  if (splits.empty()) {
    if (rows % static_cast<std::int64_t>(size) != 0) {
      refuse(request, fmt::format("{} rows cannot be split evenly over {} ranks; give the splits",
                                  rows, size));
    }
    splits.assign(size, rows / static_cast<std::int64_t>(size));
  }
  if (splits.size() != size) {
    refuse(request, fmt::format("{} splits for {} ranks", splits.size(), size));
  }
  std::int64_t left = rows;
  for (const std::int64_t split : splits) {
    if (split < 0 || split > left) {
      refuse(request, fmt::format("the splits do not add up to the {} rows", rows));
    }
    left -= split;
  }
  if (left != 0) refuse(request, fmt::format("the splits do not add up to the {} rows", rows));
  auto operation = with_output(std::move(request), input);
  operation->split_rows = std::move(splits);
  return operation;
}

std::shared_ptr<Operation> describe_exchange(std::string_view name, const ConstTensorView& input,
                                             const std::vector<int>& to,
                                             const ProcessSet& process_set) {
  protocol::Request request = make_request(Op::exchange, name, process_set);
  check_name(request);
  check_rows(request, input);
  request.ranks.assign(to.begin(), to.end());
  return with_output(std::move(request), input);
}

std::shared_ptr<Operation> describe_barrier(std::string_view name, const ProcessSet& process_set) {
  protocol::Request request = make_request(RequestKind::barrier, name, process_set);
  check_name(request);
  return make_operation(std::move(request));
}

std::shared_ptr<Operation> describe_unnamed(RequestKind kind, const ProcessSet& process_set) {
  protocol::Request request = make_request(kind, "", process_set);
  request.name = own_name(request);
  return make_operation(std::move(request));
}

Handle submit(std::shared_ptr<Operation> operation, SourceLocation where) {
  operation->where = where;
  current_runtime(*operation)->post(operation);
  return Handle(std::move(operation));
}

const Operation& run(const std::shared_ptr<Operation>& operation, SourceLocation where) {
  operation->where = where;
  current_runtime(*operation)->run(operation);
  throw_if_error(operation->status);
  return *operation;
}

}  // namespace

Handle allreduce_async(std::string_view name, const ConstTensorView& input,
                       const TensorView& output, ReduceOp op, const ReduceOptions& options,
                       SourceLocation where) {
  return submit(describe_allreduce(name, input, output, op, options), where);
}

void allreduce(std::string_view name, const ConstTensorView& input, const TensorView& output,
               ReduceOp op, const ReduceOptions& options, SourceLocation where) {
  run(describe_allreduce(name, input, output, op, options), where);
}

Handle allreduce_async(std::string_view name, const TensorView& tensor, ReduceOp op,
                       const ReduceOptions& options, SourceLocation where) {
  return submit(describe_allreduce(name, tensor, tensor, op, options), where);
}

void allreduce(std::string_view name, const TensorView& tensor, ReduceOp op,
               const ReduceOptions& options, SourceLocation where) {
  run(describe_allreduce(name, tensor, tensor, op, options), where);
}

Handle grouped_allreduce_async(std::string_view name, const std::vector<TensorView>& tensors,
                               ReduceOp op, const ReduceOptions& options, SourceLocation where) {
  return submit(describe_group(name, tensors, op, options), where);
}

void grouped_allreduce(std::string_view name, const std::vector<TensorView>& tensors, ReduceOp op,
                       const ReduceOptions& options, SourceLocation where) {
  run(describe_group(name, tensors, op, options), where);
}

Handle allgather_async(std::string_view name, const ConstTensorView& input, ProcessSet process_set,
                       SourceLocation where) {
  return submit(describe_allgather(name, input, process_set), where);
}

Output allgather(std::string_view name, const ConstTensorView& input, ProcessSet process_set,
                 SourceLocation where) {
  return run(describe_allgather(name, input, process_set), where).output;
}

Handle broadcast_async(std::string_view name, const ConstTensorView& input,
                       const TensorView& output, int root, ProcessSet process_set,
                       SourceLocation where) {
  return submit(describe_broadcast(name, input, output, root, process_set), where);
}

void broadcast(std::string_view name, const ConstTensorView& input, const TensorView& output,
               int root, ProcessSet process_set, SourceLocation where) {
  run(describe_broadcast(name, input, output, root, process_set), where);
}

Handle broadcast_async(std::string_view name, const TensorView& tensor, int root,
                       ProcessSet process_set, SourceLocation where) {
  return submit(describe_broadcast(name, tensor, tensor, root, process_set), where);
}

void broadcast(std::string_view name, const TensorView& tensor, int root, ProcessSet process_set,
               SourceLocation where) {
  run(describe_broadcast(name, tensor, tensor, root, process_set), where);
}

Handle reduce_scatter_async(std::string_view name, const ConstTensorView& input, ReduceOp op,
                            const ReduceOptions& options, SourceLocation where) {
  return submit(with_output(make_reduction(Op::reduce_scatter, name, op, options), input), where);
}

Output reduce_scatter(std::string_view name, const ConstTensorView& input, ReduceOp op,
                      const ReduceOptions& options, SourceLocation where) {
  return run(with_output(make_reduction(Op::reduce_scatter, name, op, options), input), where)
      .output;
}

Handle alltoall_async(std::string_view name, const ConstTensorView& input,
                      const std::vector<std::int64_t>& splits, ProcessSet process_set,
                      SourceLocation where) {
  return submit(describe_alltoall(name, input, splits, process_set), where);
}

Output alltoall(std::string_view name, const ConstTensorView& input,
                const std::vector<std::int64_t>& splits, ProcessSet process_set,
                SourceLocation where) {
  return run(describe_alltoall(name, input, splits, process_set), where).output;
}

Handle exchange_async(std::string_view name, const ConstTensorView& input,
                      const std::vector<int>& to, ProcessSet process_set, SourceLocation where) {
  return submit(describe_exchange(name, input, to, process_set), where);
}

Output exchange(std::string_view name, const ConstTensorView& input, const std::vector<int>& to,
                ProcessSet process_set, SourceLocation where) {
  return run(describe_exchange(name, input, to, process_set), where).output;
}

Handle barrier_async(ProcessSet process_set, SourceLocation where) {
  return submit(describe_unnamed(RequestKind::barrier, process_set), where);
}

Handle barrier_async(std::string_view name, ProcessSet process_set, SourceLocation where) {
  return submit(describe_barrier(name, process_set), where);
}

void barrier(std::string_view name, ProcessSet process_set, SourceLocation where) {
  run(describe_barrier(name, process_set), where);
}

void barrier(ProcessSet process_set, SourceLocation where) {
  run(describe_unnamed(RequestKind::barrier, process_set), where);
}

Handle join_async(ProcessSet process_set, SourceLocation where) {
  return submit(describe_unnamed(RequestKind::join, process_set), where);
}

int join(ProcessSet process_set, SourceLocation where) {
  return static_cast<int>(run(describe_unnamed(RequestKind::join, process_set), where).value);
}

}  // namespace ringleader
