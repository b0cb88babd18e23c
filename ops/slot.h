// SPDX-License-Identifier: Apache-2.0
//
// Slot: one parameter of a model and its gradient. flat_slots() makes the slots of a model that
// keeps all parameters in one array and all gradients in another.
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
  /// are already there. The wrapper uses it to move gradients into one block of memory that the
  /// ranks of a node share, or, on a GPU, into one block of device memory. There they are reduced
  /// without being copied. The wrapper moves them back when it is destroyed.
  std::function<void(void*)> move_gradient = {};

  /// The same for the parameter; used when the optimizer's state is divided among the ranks.
  std::function<void(void*)> move_parameter = {};

  int group = 0;  ///< index of the optimizer's parameter group; options may differ by group

  /// What the optimizer keeps for this parameter from step to step, such as its momentum. join()
  /// and broadcast_optimizer_state() hand it over.
  std::vector<TensorView> state = {};

  std::size_t part_of = 0;  ///< for a shard: the index of the parameter that it is part of
};

/// Slots that follow one another in two arrays of equal length. `pieces` lists their names and
/// element counts; each slot can be announced by itself.
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
