// SPDX-License-Identifier: Apache-2.0
//
// Request: what one rank asks for, and the rules by which two ranks' requests agree.
//
//   std::optional<Disagreement> d = first_disagreement(mine, theirs);
//
// It holds no data and no pointers; everything in it can travel to another rank.
#pragma once

#include <ringleader/core/source_location.h>
#include <ringleader/core/status.h>
#include <ringleader/core/tensor.h>
#include <ringleader/core/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ringleader::protocol {

/// Identifies an operation of this rank; chosen by the caller, never 0.
using Token = std::uint64_t;
constexpr Token kNoToken = 0;

/// What a request asks for: a collective on tensors, or a change to what the ranks have agreed on,
/// which moves no tensor.
enum class RequestKind : std::uint8_t {
  collective,  ///< Request::op says which one
  barrier,
  join,
  add_process_set,
  remove_process_set,
  register_plan,
  release_plan,
};
constexpr int kRequestKindCount = 7;

/// How the names of the library's own operations and tensors begin.
inline constexpr std::string_view kReservedPrefix = "ringleader/";

/// One tensor of an operation, or one parameter of a plan.
struct TensorSpec {
  std::string name;  ///< empty unless the operation has several tensors
  Shape shape;       ///< of the input; for a plan's parameter, equal on all ranks
  DType dtype = DType::f32;

  // Of a plan's parameter. For an operation, see the request.
  Op op = Op::allreduce;
  std::int32_t root = -1;             ///< broadcast: world rank
  std::vector<std::int32_t> to = {};  ///< exchange: as Request::ranks
  /// A parameter is submitted after all parameters of lower phases have completed.
  std::int32_t phase = 0;

  bool operator==(const TensorSpec&) const = default;
};

struct Request {
  RequestKind kind = RequestKind::collective;
  Op op = Op::allreduce;  ///< of a collective
  std::uint32_t process_set = 0;
  std::string name;
  Device device = Device::host;
  ReduceOp reduce_op = ReduceOp::sum;
  double prescale = 1.0;
  double postscale = 1.0;
  bool average_over_contributors = false;
  std::int32_t root = -1;           ///< broadcast: world rank
  std::vector<TensorSpec> tensors;  ///< tensor operations and register_plan
  /// add_process_set: ascending. exchange: for each member, in the set's order, the world rank that
  /// gets its tensor, or -1.
  std::vector<std::int32_t> ranks;
  std::uint32_t target = 0;  ///< remove_process_set and release_plan: the id
  SourceLocation where;      ///< the call; local to this rank, never sent
};

/// Operations are matched across ranks by the process set and the name.
struct Key {
  std::uint32_t process_set = 0;
  std::string name;

  auto operator<=>(const Key&) const = default;
};

/// A view of a key that is stored elsewhere.
struct KeyView {
  std::uint32_t process_set = 0;
  std::string_view name;

  KeyView(std::uint32_t set, std::string_view text) : process_set(set), name(text) {}
  KeyView(const Key& key) : process_set(key.process_set), name(key.name) {}  // as a string's view
  bool operator==(const KeyView&) const = default;
};

/// The result refers to the request's name.
inline KeyView key_of(const Request& request) { return {request.process_set, request.name}; }

inline Key owned(const KeyView& key) { return {key.process_set, std::string(key.name)}; }

/// What two ranks say about the same thing.
struct Disagreement {
  std::string field;
  std::string value_a;
  std::string value_b;
};

/// A disagreement together with the ranks that caused it.
struct Conflict {
  Disagreement what;
  std::int32_t rank_a = 0;
  std::int32_t rank_b = 0;
  std::string site_a;  ///< "train.cc:42 in step 7", or empty
  std::string site_b;
};

/// The first difference that keeps two requests of the same name from running together, or
/// nothing. For allgather, alltoall and exchange, the extent of the first dimension may
/// differ.
std::optional<Disagreement> first_disagreement(const Request& a, const Request& b);

/// The name without the prefix of the library's own operations, such as plans.
std::string short_name(const Request& request);

/// "allreduce", ..., "barrier", ..., and "plan" for its registration.
const char* kind_of(const Request& request);

/// "allreduce 'w1.grad' (process set 2)", "plan 'optimizer'"
std::string describe(const Request& request);

/// The error that every rank gets for a conflict about `request`.
Status conflict_error(const Request& request, const Conflict& conflict);

/// What is done with one tensor of a request: each parameter of a plan has its own verb.
inline Op verb_of(const Request& request, const TensorSpec& tensor) {
  return request.kind == RequestKind::register_plan ? tensor.op : request.op;
}
inline std::int32_t root_of(const Request& request, const TensorSpec& tensor) {
  return request.kind == RequestKind::register_plan ? tensor.root : request.root;
}

inline const std::vector<std::int32_t>& destinations_of(const Request& request,
                                                        const TensorSpec& tensor) {
  return request.kind == RequestKind::register_plan ? tensor.to : request.ranks;
}

/// Whether each member sends to at most one member and receives from at most one.
bool is_pairing(const std::vector<std::int32_t>& to, const std::vector<int>& members);

/// Whether the tensor can be a parameter of a plan: its verb has sizes that are known in advance.
bool is_plannable(const TensorSpec& tensor);

/// True if ranks that have joined can take part with neutral elements.
constexpr bool runs_with_joined_ranks(Op op) { return op == Op::allreduce; }
bool runs_with_joined_ranks(const Request& request);

/// The same for a plan's steps, that is, for all its parameters.
bool plan_runs_with_joined_ranks(const Request& plan);

}  // namespace ringleader::protocol
