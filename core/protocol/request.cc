// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/protocol/request.h>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

namespace ringleader::protocol {
namespace {

std::string text_of(const TensorSpec& spec) {
  std::string text =
      fmt::format("'{}' {} {}", spec.name, name_of(spec.dtype), to_string(spec.shape));
  if (spec.op != Op::allreduce) text += fmt::format(" by {}", name_of(spec.op));
  if (!spec.to.empty()) text += fmt::format(" to {}", spec.to);
  if (spec.root >= 0) text += fmt::format(" from rank {}", spec.root);
  if (spec.phase != 0) text += fmt::format(" in phase {}", spec.phase);
  return text;
}

std::size_t parameters_of(const Request& plan) {
  return static_cast<std::size_t>(
      std::count_if(plan.tensors.begin(), plan.tensors.end(), [](const TensorSpec& spec) {
        return std::string_view(spec.name).substr(0, kReservedPrefix.size()) != kReservedPrefix;
      }));
}

/// Parameters are compared one by one, so that the first one that differs is named.
std::optional<Disagreement> first_plan_disagreement(const Request& a, const Request& b) {
  const std::size_t count_a = parameters_of(a);
  const std::size_t count_b = parameters_of(b);
  for (std::size_t i = 0; i < std::min(count_a, count_b); ++i) {
    if (a.tensors[i] == b.tensors[i]) continue;
    return Disagreement{fmt::format("parameter {}", i), text_of(a.tensors[i]),
                        text_of(b.tensors[i])};
  }
  if (count_a != count_b) {
    return Disagreement{"number of parameters", fmt::format("{}", count_a),
                        fmt::format("{}", count_b)};
  }
  if (a.tensors == b.tensors) return std::nullopt;
  return Disagreement{"kind of optimizer", fmt::format("{} tensors", a.tensors.size()),
                      fmt::format("{} tensors", b.tensors.size())};
}

bool same_shape(const Request& request, const Shape& a, const Shape& b) {
  const bool rows_are_free =
      request.op == Op::allgather || request.op == Op::alltoall || request.op == Op::exchange;
  if (!rows_are_free || a.empty() || b.empty()) return a == b;
  return a.size() == b.size() && std::equal(a.begin() + 1, a.end(), b.begin() + 1);
}

std::optional<Disagreement> first_tensor_disagreement(const Request& a, const Request& b) {
  if (a.tensors.size() != b.tensors.size()) {
    return Disagreement{"number of tensors", fmt::format("{}", a.tensors.size()),
                        fmt::format("{}", b.tensors.size())};
  }
  for (std::size_t i = 0; i < a.tensors.size(); ++i) {
    const std::string which = a.tensors.size() == 1 ? "" : fmt::format(" of tensor {}", i);
    if (a.tensors[i].dtype != b.tensors[i].dtype) {
      return Disagreement{"element type" + which, name_of(a.tensors[i].dtype),
                          name_of(b.tensors[i].dtype)};
    }
    if (!same_shape(a, a.tensors[i].shape, b.tensors[i].shape)) {
      return Disagreement{"shape" + which, to_string(a.tensors[i].shape),
                          to_string(b.tensors[i].shape)};
    }
  }
  return std::nullopt;
}

const char* name_of(const Request& request) {
  switch (request.kind) {
    case RequestKind::collective:
      break;
    case RequestKind::barrier:
      return "barrier";
    case RequestKind::join:
      return "join";
    case RequestKind::add_process_set:
      return "add_process_set";
    case RequestKind::remove_process_set:
      return "remove_process_set";
    case RequestKind::register_plan:
      return "register_plan";
    case RequestKind::release_plan:
      return "release_plan";
  }
  return ringleader::name_of(request.op);
}

}  // namespace

std::optional<Disagreement> first_disagreement(const Request& a, const Request& b) {
  const auto differ = [](const char* field, auto x, auto y) {
    return Disagreement{field, fmt::format("{}", x), fmt::format("{}", y)};
  };
  if (a.kind != b.kind || a.op != b.op) return differ("operation", name_of(a), name_of(b));
  if (a.kind == RequestKind::register_plan) {
    if (auto found = first_plan_disagreement(a, b)) return found;
  } else if (auto found = first_tensor_disagreement(a, b)) {
    return found;
  }
  if (a.device != b.device) return differ("memory", name_of(a.device), name_of(b.device));
  if (a.reduce_op != b.reduce_op) {
    return differ("reduction", name_of(a.reduce_op), name_of(b.reduce_op));
  }
  if (a.prescale != b.prescale) return differ("prescale", a.prescale, b.prescale);
  if (a.postscale != b.postscale) return differ("postscale", a.postscale, b.postscale);
  if (a.average_over_contributors != b.average_over_contributors) {
    return differ("divisor", a.average_over_contributors ? "contributors" : "set size",
                  b.average_over_contributors ? "contributors" : "set size");
  }
  if (a.root != b.root) return differ("root", a.root, b.root);
  if (a.ranks != b.ranks) {
    return Disagreement{a.op == Op::exchange ? "destinations" : "ranks", fmt::format("{}", a.ranks),
                        fmt::format("{}", b.ranks)};
  }
  if (a.target != b.target) return differ("target", a.target, b.target);
  return std::nullopt;
}

const char* kind_of(const Request& request) {
  return request.kind == RequestKind::register_plan ? "plan" : name_of(request);
}

std::string short_name(const Request& request) {
  if (request.name.rfind(kReservedPrefix, 0) != 0) return request.name;
  return request.name.substr(request.name.rfind('/') + 1);
}

std::string describe(const Request& request) {
  std::string text = fmt::format("{} '{}'", kind_of(request), short_name(request));
  if (request.process_set != 0) text += fmt::format(" (process set {})", request.process_set);
  return text;
}

Status conflict_error(const Request& request, const Conflict& conflict) {
  // The lower rank first: which of the two was heard first depends on timing.
  const bool swap = conflict.rank_b < conflict.rank_a;
  const Disagreement& what = conflict.what;
  const auto side = [](std::int32_t rank, const std::string& value, const std::string& site) {
    return fmt::format("rank {} has {}{}", rank, value, site.empty() ? "" : " (" + site + ")");
  };
  const std::string a = side(conflict.rank_a, what.value_a, conflict.site_a);
  const std::string b = side(conflict.rank_b, what.value_b, conflict.site_b);
  return Status(Code::mismatch,
                fmt::format("{}: ranks disagree about {}{}: {}, {}; "
                            "make them equal on all ranks",
                            describe(request), what.field.rfind("parameter ", 0) == 0 ? "" : "the ",
                            what.field, swap ? b : a, swap ? a : b));
}

bool is_plannable(const TensorSpec& tensor) {
  // In an alltoall each rank chooses what it sends; a reduce_scatter needs rows.
  return tensor.op != Op::alltoall && (tensor.op != Op::reduce_scatter || !tensor.shape.empty());
}

bool is_pairing(const std::vector<std::int32_t>& to, const std::vector<int>& members) {
  if (to.size() != members.size()) return false;
  std::vector<std::int32_t> receivers;
  for (const std::int32_t rank : to) {
    if (rank == -1) continue;
    if (!std::binary_search(members.begin(), members.end(), rank)) return false;
    receivers.push_back(rank);
  }
  std::sort(receivers.begin(), receivers.end());
  return std::adjacent_find(receivers.begin(), receivers.end()) == receivers.end();
}

bool plan_runs_with_joined_ranks(const Request& plan) {
  return std::all_of(plan.tensors.begin(), plan.tensors.end(),
                     [](const TensorSpec& spec) { return runs_with_joined_ranks(spec.op); });
}

bool runs_with_joined_ranks(const Request& request) {
  return request.kind == RequestKind::barrier ||
         (request.kind == RequestKind::collective && runs_with_joined_ranks(request.op));
}

}  // namespace ringleader::protocol
