// SPDX-License-Identifier: Apache-2.0
//
// OptimizerAdapter: tells the library how to visit the slots of an optimizer that it does not know,
// and how to step it.
//
// A class with members `parameters()`, `gradients()` (ranges of equal length whose elements
// convert to TensorView) and `step()` needs no adapter. It may also have `names()`,
// `gradient_meaning`, `state()` (a range like the first two: what it keeps from step to step,
// besides the parameters) and `scalars()` (pairs of a name and a number that must be equal on all
// ranks). For any other optimizer, specialize the trait. Each wrapper holds an object of it, so
// members need not be static. All but the first two are optional:
//
//   template <>
//   struct ringleader::OptimizerAdapter<their::Optimizer> {
//     static std::vector<ringleader::Slot> slots(their::Optimizer& optimizer);
//     static void step(their::Optimizer& optimizer);
//
//     // What its gradients mean. Without it, the program says so where it wraps the optimizer.
//     static constexpr auto meaning = ringleader::GradientMeaning::mean;
//
//     // Where its tensors are now, so that the wrapper notices what the program has changed.
//     void look(their::Optimizer& optimizer, std::vector<ringleader::SlotNow>& now);
//
//     // Calls the events' members as a backward pass computes gradients, until the returned object
//     // is destroyed.
//     std::shared_ptr<void> on_backward(their::Optimizer& optimizer,
//                                       ringleader::BackwardEvents events);
//
//     // For a gradient that was not announced in this step: puts it into the slot's memory and
//     // returns true, or returns false if there is no gradient.
//     bool missing(std::size_t index);
//
//     // For optimizers that step only parameters with a gradient: which slots any rank has
//     // announced in this step. Called before each step. Gradients of other slots are zeros.
//     void set_used(const std::vector<bool>& used);
//
//     // For optimizers that evaluate the loss themselves, any number of times per step.
//     template <typename Closure>
//     static auto step(their::Optimizer& optimizer, Closure evaluate);
//
//     // The number inside what such a closure returns, so that it can be averaged in place.
//     static ringleader::TensorView loss(Loss& loss);
//
//     // Names and values of settings that must be equal on all ranks, such as the learning rate.
//     std::vector<std::pair<std::string, double>> scalars(const their::Optimizer& optimizer);
//
//     // state(): what it keeps from step to step besides the parameters; nothing if that is not
//     // known. shape_state(), for state that the first step creates: makes the optimizer keep
//     // tensors of these shapes, with any content.
//     std::optional<std::vector<ringleader::StateTensor>> state(their::Optimizer& optimizer);
//     void shape_state(their::Optimizer& optimizer, const std::vector<ringleader::StateShape>&);
//
//     // For Sharding::optimizer_state: each element's update depends on that element alone.
//     // shard() makes the optimizer step these flat slots instead of its own; unshard() undoes it.
//     static constexpr bool elementwise = true;
//     void shard(their::Optimizer& optimizer, const std::vector<ringleader::Slot>& shards);
//     void unshard(their::Optimizer& optimizer);
//   };
#pragma once

#include <ringleader/core/tensor.h>
#include <ringleader/core/types.h>
#include <ringleader/ops/slot.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace ringleader {

/// What a rank's gradient is over the samples of its batch: a mean or a sum. This decides how the
/// ranks' gradients are combined: means are averaged, sums are added up.
enum class GradientMeaning { mean, sum };

/// The reduction that combines the ranks' values of that meaning.
constexpr ReduceOp reduce_op_of(GradientMeaning meaning) {
  return meaning == GradientMeaning::mean ? ReduceOp::average : ReduceOp::sum;
}

/// Where a parameter and its gradient currently are in the program's memory.
struct SlotNow {
  /// The first element.
  void* parameter = nullptr;
  /// Number of elements.
  std::int64_t parameter_count = 0;
  /// The first element; null if there is no gradient.
  void* gradient = nullptr;
  /// Number of elements.
  std::int64_t gradient_count = 0;
};

/// One tensor of an optimizer's state. Names are unique within the optimizer and equal on all
/// ranks.
struct StateTensor {
  /// Unique within the optimizer.
  std::string name;
  /// Its memory.
  TensorView view;
};

/// The same as StateTensor, without the memory.
struct StateShape {
  /// Unique within the optimizer.
  std::string name;
  /// Elements per dimension.
  Shape shape;
  /// The element type.
  DType dtype = DType::f32;
};

/// What an adapter reports about a backward pass. The thread that runs the pass calls these.
struct BackwardEvents {
  /// The gradient of a slot is complete for this pass. Does not block.
  std::function<void(std::size_t)> ready;
  /// The pass has ended and is about to return. Returns true if wait() must be called, once all
  /// other wrappers that take part in the pass have been told too. Does not block.
  std::function<bool()> ended;
  /// Blocks until the gradients are those of all ranks.
  std::function<void()> wait;
  /// The pass has thrown. Does not block.
  std::function<void()> failed;
};

/// An optimizer that consists of a list of slots and a function.
struct FunctionOptimizer {
  /// Parameters and gradients.
  std::vector<Slot> slots;
  /// Updates all parameters.
  std::function<void()> step;
};

/// The state that the slots describe; nothing if no slot describes any.
std::optional<std::vector<StateTensor>> state_of_slots(const std::vector<Slot>& slots);

/// Like FunctionOptimizer, for a function that steps the slots it is given, each element by itself.
struct SlotOptimizer {
  /// Parameters and gradients.
  std::vector<Slot> slots;
  /// Updates the parameters of the slots it is given.
  std::function<void(const std::vector<Slot>&)> step;
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
  static auto state(FunctionOptimizer& optimizer) { return state_of_slots(optimizer.slots); }
};

template <>
class OptimizerAdapter<SlotOptimizer> {
 public:
  static constexpr bool elementwise = true;
  /// Tensors that the wrapper moves are stepped at their new place.
  static std::vector<Slot> slots(SlotOptimizer& optimizer) {
    std::vector<Slot> slots = optimizer.slots;
    for (std::size_t i = 0; i < slots.size(); ++i) {
      follow(slots[i].move_gradient, optimizer, i, &Slot::gradient);
      follow(slots[i].move_parameter, optimizer, i, &Slot::parameter);
    }
    return slots;
  }
  static void step(SlotOptimizer& optimizer) { optimizer.step(optimizer.slots); }
  void shard(SlotOptimizer& optimizer, const std::vector<Slot>& shards) {
    whole_ = std::exchange(optimizer.slots, shards);
  }
  void unshard(SlotOptimizer& optimizer) { optimizer.slots = whole_; }
  static auto state(SlotOptimizer& optimizer) { return state_of_slots(optimizer.slots); }

 private:
  static void follow(std::function<void(void*)>& move, SlotOptimizer& optimizer, std::size_t index,
                     TensorView Slot::*member) {
    if (move == nullptr) return;
    move = [&optimizer, index, member, tell = std::move(move)](void* to) {
      if (index < optimizer.slots.size()) {
        TensorView& tensor = optimizer.slots[index].*member;
        tensor =
            TensorView(to, tensor.shape(), tensor.dtype(), tensor.device()).on(tensor.stream());
      }
      tell(to);
    };
  }

  std::vector<Slot> whole_;
};

namespace detail {

template <template <typename> typename Use, typename T, typename = void>
struct Has : std::false_type {};
template <template <typename> typename Use, typename T>
struct Has<Use, T, std::void_t<Use<T>>> : std::true_type {};

/// The optimizer type for an update function: SlotOptimizer if it takes slots.
template <typename Step>
using SlotStepper = std::conditional_t<std::is_invocable_v<Step&, const std::vector<Slot>&>,
                                       SlotOptimizer, FunctionOptimizer>;

template <typename O>
using SlotMembers =
    std::void_t<decltype(std::declval<O&>().parameters()), decltype(std::declval<O&>().gradients()),
                decltype(std::declval<O&>().step())>;
template <typename O>
using NamesOf = decltype(std::declval<O&>().names());
template <typename O>
using MemberStateOf = decltype(std::declval<O&>().state());
template <typename O>
using MemberScalarsOf = decltype(std::declval<const O&>().scalars());
template <typename O>
using MemberMeaningOf = decltype(O::gradient_meaning);

template <typename O>
using MeaningOf = decltype(OptimizerAdapter<O>::meaning);
template <typename O>
using LookOf = decltype(std::declval<OptimizerAdapter<O>&>().look(
    std::declval<O&>(), std::declval<std::vector<SlotNow>&>()));
template <typename O>
using OnBackwardOf = decltype(std::declval<OptimizerAdapter<O>&>().on_backward(
    std::declval<O&>(), std::declval<BackwardEvents>()));
template <typename O>
using ZeroWholeOf = decltype(std::declval<OptimizerAdapter<O>&>().zero_whole());
template <typename O>
using MissingOf = decltype(std::declval<OptimizerAdapter<O>&>().missing(std::size_t()));
template <typename O>
using SetUsedOf = decltype(std::declval<OptimizerAdapter<O>&>().set_used(
    std::declval<const std::vector<bool>&>()));
template <typename O>
using ScalarsOf = decltype(std::declval<OptimizerAdapter<O>&>().scalars(std::declval<const O&>()));
template <typename O>
using ElementwiseOf = decltype(OptimizerAdapter<O>::elementwise);

template <typename O>
constexpr bool can_be_sharded() {
  if constexpr (Has<ElementwiseOf, O>::value) return OptimizerAdapter<O>::elementwise;
  return false;
}

/// Base of the adapter for classes with the members named above.
template <typename Optimizer, bool kSaysMeaning = Has<MemberMeaningOf, Optimizer>::value>
struct MemberMeaning {};
template <typename Optimizer>
struct MemberMeaning<Optimizer, true> {
  static constexpr GradientMeaning meaning = Optimizer::gradient_meaning;
};

template <typename Optimizer>
constexpr GradientMeaning meaning_of() {
  static_assert(
      Has<MeaningOf, Optimizer>::value,
      "ringleader cannot know whether this optimizer's gradients are means or sums over the local "
      "batch, and a wrong guess trains wrongly: say it, as in DistributedOptimizer optimizer(sgd, "
      "ringleader::GradientMeaning::mean), or once in the class, as in static constexpr auto "
      "gradient_meaning = ringleader::GradientMeaning::mean");
  return OptimizerAdapter<Optimizer>::meaning;
}

}  // namespace detail

template <typename Optimizer>
struct OptimizerAdapter<Optimizer, detail::SlotMembers<Optimizer>>
    : detail::MemberMeaning<Optimizer> {
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
    if constexpr (detail::Has<detail::NamesOf, Optimizer>::value) {
      index = 0;
      for (auto&& name : optimizer.names()) {
        if (index == slots.size()) break;
        slots[index++].name = name;
      }
    }
    return slots;
  }
  static void step(Optimizer& optimizer) { optimizer.step(); }
  static void look(Optimizer& optimizer, std::vector<SlotNow>& now) {
    now.clear();
    for (auto&& parameter : optimizer.parameters()) {
      const TensorView view(parameter);
      now.push_back({view.data(), view.count(), nullptr, 0});
    }
    std::size_t index = 0;
    for (auto&& gradient : optimizer.gradients()) {
      if (index == now.size()) break;
      const TensorView view(gradient);
      now[index].gradient = view.data();
      now[index++].gradient_count = view.count();
    }
  }
  static std::optional<std::vector<StateTensor>> state(Optimizer& optimizer) {
    if constexpr (detail::Has<detail::MemberStateOf, Optimizer>::value) {
      std::vector<StateTensor> tensors;
      for (auto&& tensor : optimizer.state()) {
        tensors.push_back({"state" + std::to_string(tensors.size()), TensorView(tensor)});
      }
      return tensors;
    }
    return std::nullopt;
  }
  static std::vector<std::pair<std::string, double>> scalars(const Optimizer& optimizer) {
    std::vector<std::pair<std::string, double>> scalars;
    if constexpr (detail::Has<detail::MemberScalarsOf, Optimizer>::value) {
      for (const auto& [name, value] : optimizer.scalars()) {
        scalars.emplace_back(name, static_cast<double>(value));
      }
    }
    return scalars;
  }
};

}  // namespace ringleader
