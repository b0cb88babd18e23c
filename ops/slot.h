// SPDX-License-Identifier: Apache-2.0
//
// Slot: one parameter of a model and its gradient. OptimizerAdapter: how the library visits the
// slots of an optimizer it has never heard of, and how it steps it.
//
// A class with members `parameters()`, `gradients()` (ranges of equal length whose elements
// convert to TensorView) and `step()`, and optionally `names()`, needs no adapter. Any other is
// described by specializing the trait:
//
//   template <>
//   struct ringleader::OptimizerAdapter<their::Optimizer> {
//     static std::vector<ringleader::Slot> slots(their::Optimizer& optimizer);
//     static void step(their::Optimizer& optimizer);
//   };
#pragma once

#include <ringleader/core/status.h>
#include <ringleader/core/tensor.h>

#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace ringleader {

struct Slot {
  std::string name;      ///< unique within the optimizer and equal on all ranks
  TensorView parameter;  ///< broadcast from the root when the optimizer is wrapped
  TensorView gradient;   ///< averaged in place; as many elements as the parameter

  /// Optional: makes the optimizer keep this gradient at another address from now on; its elements
  /// are already there. With it the wrapper moves all gradients into one piece of memory that the
  /// ranks of a node share, where they are reduced without being copied; and back when it ends.
  std::function<void(void*)> move_gradient = {};
};

/// An optimizer that is only a list of slots and a function.
struct FunctionOptimizer {
  std::vector<Slot> slots;
  std::function<void()> step;
};

template <typename Optimizer, typename = void>
struct OptimizerAdapter {
  static_assert(sizeof(Optimizer) == 0,
                "ringleader does not know this optimizer: give it parameters(), gradients() and "
                "step(), or specialize ringleader::OptimizerAdapter for it");
};

template <>
struct OptimizerAdapter<FunctionOptimizer> {
  static std::vector<Slot> slots(FunctionOptimizer& optimizer) { return optimizer.slots; }
  static void step(FunctionOptimizer& optimizer) { optimizer.step(); }
};

namespace detail {

template <typename Optimizer>
using SlotMembers = std::void_t<decltype(std::declval<Optimizer&>().parameters()),
                                decltype(std::declval<Optimizer&>().gradients()),
                                decltype(std::declval<Optimizer&>().step())>;

template <typename Optimizer, typename = void>
struct HasNames : std::false_type {};
template <typename Optimizer>
struct HasNames<Optimizer, std::void_t<decltype(std::declval<Optimizer&>().names())>>
    : std::true_type {};

}  // namespace detail

template <typename Optimizer>
struct OptimizerAdapter<Optimizer, detail::SlotMembers<Optimizer>> {
  static std::vector<Slot> slots(Optimizer& optimizer) {
    std::vector<Slot> slots;
    for (auto&& parameter : optimizer.parameters()) {
      slots.push_back({"parameter" + std::to_string(slots.size()), TensorView(parameter), {}});
    }
    std::size_t index = 0;
    for (auto&& gradient : optimizer.gradients()) {
      if (index == slots.size()) break;
      slots[index++].gradient = TensorView(gradient);
    }
    if constexpr (detail::HasNames<Optimizer>::value) {
      index = 0;
      for (auto&& name : optimizer.names()) {
        if (index == slots.size()) break;
        slots[index++].name = name;
      }
    }
    return slots;
  }
  static void step(Optimizer& optimizer) { optimizer.step(); }
};

}  // namespace ringleader
