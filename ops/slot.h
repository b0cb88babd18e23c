// SPDX-License-Identifier: Apache-2.0
//
// Slot: one parameter of a model and its gradient. flat_slots(): those of a model that keeps all
// parameters in one array and all gradients in another.
//
//   std::vector<Slot> slots = flat_slots(model.params_memory, model.grads_memory,
//                                        {{"wte", 38597376}, {"wpe", 786432}, ...});
#pragma once

#include <ringleader/core/tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace ringleader {

/// One parameter of a model, its gradient, and what the optimizer keeps for it.
struct Slot {
  std::string name;      ///< unique within the optimizer and equal on all ranks
  TensorView parameter;  ///< broadcast from the root when the optimizer is wrapped
  TensorView gradient;   ///< averaged in place; as many elements as the parameter

  /// Optional: makes the optimizer keep this gradient at another address from now on; its elements
  /// are already there. With it the wrapper moves all gradients into one piece of memory that the
  /// ranks of a node share, or on a GPU into one piece of its memory, where they are reduced
  /// without being copied; and back when it ends.
  std::function<void(void*)> move_gradient = {};

  /// The same for the parameter; used where the optimizer's state is divided among the ranks.
  std::function<void(void*)> move_parameter = {};

  int group = 0;  ///< of the optimizer's parameter groups, whose options may differ

  /// What the optimizer keeps for this parameter from step to step, such as its momentum: handed
  /// over by join() and by broadcast_optimizer_state().
  std::vector<TensorView> state = {};

  std::size_t part_of = 0;  ///< of a shard: the index of the parameter that it is a piece of
};

/// Slots that lie one after another in two arrays of equal length. `pieces` are names and element
/// counts; each can be announced by itself.
template <typename T>
std::vector<Slot> flat_slots(T* parameters, T* gradients,
                             const std::vector<std::pair<std::string, std::int64_t>>& pieces) {
  std::vector<Slot> slots;
  for (const auto& [name, count] : pieces) {
    slots.push_back({name, TensorView(parameters, {count}), TensorView(gradients, {count}), {}});
    parameters += count;
    gradients += count;
  }
  return slots;
}

}  // namespace ringleader
