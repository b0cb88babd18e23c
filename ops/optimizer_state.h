// SPDX-License-Identifier: Apache-2.0
//
// Optimizer state: what an optimizer keeps from step to step besides the parameters (momentum,
// moments, counters), as named tensors. It can be handed over to ranks that lack it, and compared.
//
//   ringleader::broadcast_optimizer_state(sgd);        // every rank continues with rank 0's
//   if (!optimizer.parameters_identical()) ...
//
// An adapter that knows its optimizer's state has a member state(), see optimizer_adapter.h.
#pragma once

#include <ringleader/core/source_location.h>
#include <ringleader/core/tensor.h>
#include <ringleader/ops/optimizer_adapter.h>
#include <ringleader/ops/process_set.h>
#include <ringleader/ops/slot.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ringleader {

/// True on every rank if all ranks pass tensors of the same names and sizes, in the same order and
/// with the same bits. Collective over the set, blocks. Two states that differ are told apart with
/// a probability of 1 - 2^-64.
bool identical(std::string_view name, const std::vector<StateTensor>& tensors,
               ProcessSet process_set = {}, SourceLocation where = SourceLocation::current());

/// The same for parameters.
bool parameters_identical(const std::vector<Slot>& slots, ProcessSet process_set = {},
                          SourceLocation where = SourceLocation::current());

namespace detail {

/// Overwrites the state with the root's. `state` returns the tensors; `shape`, which may be null,
/// makes the optimizer keep tensors like those of the root. Collective, blocks.
void broadcast_state(std::string_view name, const std::function<std::vector<StateTensor>()>& state,
                     const std::function<void(const std::vector<StateShape>&)>& shape, int root,
                     ProcessSet process_set, SourceLocation where);

template <typename O>
using StateOf = decltype(std::declval<OptimizerAdapter<O>&>().state(std::declval<O&>()));
template <typename O>
using ShapeStateOf = decltype(std::declval<OptimizerAdapter<O>&>().shape_state(
    std::declval<O&>(), std::declval<const std::vector<StateShape>&>()));

/// Nothing if the adapter does not know the state of this optimizer.
template <typename Optimizer>
std::optional<std::vector<StateTensor>> state_of(OptimizerAdapter<Optimizer>& adapter,
                                                 Optimizer& optimizer) {
  if constexpr (Has<StateOf, Optimizer>::value) {
    return adapter.state(optimizer);
  } else {
    return std::nullopt;
  }
}

/// False if the state is not known.
template <typename Optimizer>
bool hand_over_state(OptimizerAdapter<Optimizer>& adapter, Optimizer& optimizer,
                     std::string_view name, int root, ProcessSet process_set,
                     SourceLocation where) {
  if (!state_of(adapter, optimizer)) return false;
  std::function<void(const std::vector<StateShape>&)> shape;
  if constexpr (Has<ShapeStateOf, Optimizer>::value) {
    shape = [&](const std::vector<StateShape>& like) { adapter.shape_state(optimizer, like); };
  }
  broadcast_state(
      name, [&] { return *state_of(adapter, optimizer); }, shape, root, process_set, where);
  return true;
}

[[noreturn]] void throw_state_unknown(std::string_view what, std::string_view name);

}  // namespace detail

/// Overwrites the state of `optimizer` with the root's. The root is a world rank.
/// Collective over the set, blocks. Errors: unsupported if the adapter does not know the state;
/// mismatch if the ranks' optimizers keep different tensors and cannot be made to keep the same.
template <typename Optimizer>
void broadcast_optimizer_state(Optimizer& optimizer, int root = 0, ProcessSet process_set = {},
                               SourceLocation where = SourceLocation::current()) {
  OptimizerAdapter<Optimizer> adapter;
  constexpr const char* kName = "optimizer";
  if (!detail::hand_over_state(adapter, optimizer, kName, root, process_set, where)) {
    detail::throw_state_unknown("broadcast_optimizer_state()", kName);
  }
}

}  // namespace ringleader
