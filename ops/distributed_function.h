// SPDX-License-Identifier: Apache-2.0
//
// DistributedFunction: for optimizers that own the loop and call the program's function, as
// ensmallen does: optimizer.Optimize(function, x). It presents the sum over the samples of all
// ranks as if one rank had them all. The optimizer runs on every rank and does the same everywhere.
//
//   MyFunction function(samples_of_this_rank);      // EvaluateWithGradient, NumFunctions, Shuffle
//   ringleader::optimize(lbfgs, function, x);       // broadcasts x, then lbfgs.Optimize(..., x)
//
// The program's function needs those of the following members that the optimizer uses:
//
//   E EvaluateWithGradient(const M& x, std::size_t begin, M& gradient, std::size_t count);
//   E EvaluateWithGradient(const M& x, M& gradient);
//   E Evaluate(const M& x, std::size_t begin, std::size_t count);
//   E Evaluate(const M& x);
//   void Gradient(const M& x, std::size_t begin, M& gradient, std::size_t count);
//   void Gradient(const M& x, M& gradient);
//   std::size_t NumFunctions();
//   void Shuffle();
//
// Their values, of M's element type E, are sums over samples [begin, begin + count), as ensmallen
// requires. A term that the function adds once, such as a regularizer, is therefore added once per
// rank: divide it by size(). All ranks must evaluate at the same points, which is checked: give an
// optimizer that draws random numbers the same seed on all ranks. M stores its elements
// contiguously and has memptr() and n_elem (Armadillo), or data() and size(). No optimizer header
// is needed.
#pragma once

#include <ringleader/ops/collectives.h>
#include <ringleader/ops/gradient_reducer.h>
#include <ringleader/ops/memory.h>
#include <ringleader/ops/round_robin.h>
#include <ringleader/ops/session.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace ringleader {
namespace detail {

template <typename M>
using MemptrOf = decltype(std::declval<M&>().memptr());

template <typename M>
auto* elements_of(M& matrix) {
  if constexpr (Has<MemptrOf, M>::value) {
    return matrix.memptr();
  } else {
    return matrix.data();
  }
}

template <typename M>
std::size_t count_in(const M& matrix) {
  if constexpr (Has<MemptrOf, const M>::value) {
    return matrix.n_elem;
  } else {
    return static_cast<std::size_t>(matrix.size());
  }
}

template <typename M>
using ElementOf =
    std::remove_const_t<std::remove_pointer_t<decltype(elements_of(std::declval<M&>()))>>;

/// hash_of_point() hashes the point at which this rank evaluates. reduce_objective() returns the
/// sum of the ranks' objectives there. It is collective, blocks, and throws mismatch if the ranks
/// evaluate at different points.
std::uint32_t hash_of_point(const void* data, std::size_t bytes);
double reduce_objective(const std::string& name, double objective, std::uint32_t point,
                        ProcessSet process_set, SourceLocation where);

[[noreturn]] void throw_points_differ(const std::string& name, SourceLocation where);

template <typename F, typename M, typename = void>
struct EvaluatesRange : std::false_type {};
template <typename F, typename M>
struct EvaluatesRange<
    F, M,
    std::void_t<decltype(std::declval<F&>().EvaluateWithGradient(
        std::declval<const M&>(), std::size_t(), std::declval<M&>(), std::size_t()))>>
    : std::true_type {};

template <typename F, typename M, typename = void>
struct HasWholeGradient : std::false_type {};
template <typename F, typename M>
struct HasWholeGradient<F, M,
                        std::void_t<decltype(std::declval<F&>().Gradient(
                            std::declval<const M&>(), std::declval<M&>()))>> : std::true_type {};

template <typename F, typename M, typename = void>
struct EvaluatesWhole : std::false_type {};
template <typename F, typename M>
struct EvaluatesWhole<F, M,
                      std::void_t<decltype(std::declval<F&>().EvaluateWithGradient(
                          std::declval<const M&>(), std::declval<M&>()))>> : std::true_type {};

}  // namespace detail

/// Threading: one thread at a time. All members that evaluate are collective: every rank calls them
/// with the same x and range. An optimizer that gets the same values on all ranks does that.
template <typename Function>
class DistributedFunction {
 public:
  /// Collective, blocks: learns how many samples each rank has.
  /// function  must outlive this
  /// name      distinguishes several functions of a program; equal on all ranks
  explicit DistributedFunction(Function& function, std::string name = "function",
                               ProcessSet process_set = {},
                               SourceLocation where = SourceLocation::current())
      : function_(function),
        name_(std::move(name)),
        process_set_(process_set),
        samples_(gather_counts(name_ + "/samples", samples_here(), process_set),
                 process_set.rank()),
        where_(where) {}

  /// The number of samples of all ranks. Global sample numbers go round the ranks in turn.
  std::size_t NumFunctions() const { return static_cast<std::size_t>(samples_.total()); }

  /// Each rank shuffles its own samples.
  void Shuffle() { function_.Shuffle(); }

  /// The sum over samples [begin, begin + count) of all ranks. `gradient` receives its gradient.
  template <typename M>
  detail::ElementOf<M> EvaluateWithGradient(const M& x, std::size_t begin, M& gradient,
                                            std::size_t count) {
    const auto [first, last] = samples_.local_range(static_cast<std::int64_t>(begin),
                                                    static_cast<std::int64_t>(begin + count));
    if (first == last) return sum(0.0, x, gradient, false);
    const auto at = static_cast<std::size_t>(first);
    const auto own = static_cast<std::size_t>(last - first);
    if constexpr (detail::EvaluatesRange<Function, M>::value) {
      return sum(static_cast<double>(function_.EvaluateWithGradient(x, at, gradient, own)), x,
                 gradient, true);
    } else {
      const auto objective = static_cast<double>(function_.Evaluate(x, at, own));
      function_.Gradient(x, at, gradient, own);
      return sum(objective, x, gradient, true);
    }
  }

  /// The same over all samples.
  template <typename M>
  detail::ElementOf<M> EvaluateWithGradient(const M& x, M& gradient) {
    if constexpr (detail::EvaluatesWhole<Function, M>::value) {
      return sum(static_cast<double>(function_.EvaluateWithGradient(x, gradient)), x, gradient,
                 true);
    } else if constexpr (detail::HasWholeGradient<Function, M>::value) {
      const auto objective = static_cast<double>(function_.Evaluate(x));
      function_.Gradient(x, gradient);
      return sum(objective, x, gradient, true);
    } else {
      return EvaluateWithGradient(x, 0, gradient, NumFunctions());
    }
  }

  /// Evaluate of samples [begin, begin + count) of all ranks. Blocks.
  template <typename M>
  detail::ElementOf<M> Evaluate(const M& x, std::size_t begin, std::size_t count) {
    const auto [first, last] = samples_.local_range(static_cast<std::int64_t>(begin),
                                                    static_cast<std::int64_t>(begin + count));
    if (first == last) return sum(0.0, x);
    return sum(static_cast<double>(function_.Evaluate(x, static_cast<std::size_t>(first),
                                                      static_cast<std::size_t>(last - first))),
               x);
  }

  /// Evaluate of all samples of all ranks. Blocks.
  template <typename M>
  detail::ElementOf<M> Evaluate(const M& x) {
    return sum(static_cast<double>(function_.Evaluate(x)), x);
  }

  /// Gradient of samples [begin, begin + count) of all ranks. Blocks.
  template <typename M>
  void Gradient(const M& x, std::size_t begin, M& gradient, std::size_t count) {
    EvaluateWithGradient(x, begin, gradient, count);
  }
  /// Gradient of all samples of all ranks. Blocks.
  template <typename M>
  void Gradient(const M& x, M& gradient) {
    EvaluateWithGradient(x, gradient);
  }

 private:
  template <typename F>
  using NumFunctionsOf = decltype(std::declval<F&>().NumFunctions());

  std::int64_t samples_here() {
    if constexpr (detail::Has<NumFunctionsOf, Function>::value) {
      return static_cast<std::int64_t>(function_.NumFunctions());
    }
    return 1;
  }

  template <typename M>
  static std::uint32_t hash_of(const M& x) {
    return detail::hash_of_point(detail::elements_of(x),
                                 detail::count_in(x) * sizeof(detail::ElementOf<const M>));
  }

  template <typename M>
  detail::ElementOf<M> sum(double objective, const M& x) {
    return static_cast<detail::ElementOf<M>>(
        detail::reduce_objective(name_, objective, hash_of(x), process_set_, where_));
  }

  /// Reduces objective and gradient in one reduction, which the ranks agree on once.
  template <typename M>
  detail::ElementOf<M> sum(double objective, const M& x, M& gradient, bool computed) {
    using Element = detail::ElementOf<M>;
    const std::size_t count = detail::count_in(x);
    if (!computed || detail::count_in(gradient) != count) gradient = x;  // for its shape
    if (reducer_ == nullptr) make_reducer(count, dtype_of<Element>());
    if (count * sizeof(Element) != memory_.size()) {
      throw Error(Status(Code::invalid_argument,
                         "DistributedFunction '" + name_ + "': x has another size than before"));
    }
    if (computed) {
      std::memcpy(memory_.data(), detail::elements_of(gradient), memory_.size());
    } else {
      std::memset(memory_.data(), 0, memory_.size());
    }
    objective_[0] = objective;
    *point_ = hash_of(x);
    reducer_->synchronize(where_);
    reducer_->begin_step(where_);
    std::memcpy(detail::elements_of(gradient), memory_.data(), memory_.size());
    return static_cast<Element>(objective_[0]);
  }

  void make_reducer(std::size_t count, DType dtype) {
    memory_.resize(count * size_of(dtype));
    const TensorView gradient(memory_.data(), {static_cast<std::int64_t>(count)}, dtype);
    const TensorView objective(objective_.data(), {1}, DType::f64);
    OptimizerOptions options;
    options.name = name_;
    options.process_set = process_set_;
    options.broadcast_parameters = false;
    ReducerHooks hooks;
    hooks.point = [point = point_] { return *point; };
    reducer_ = std::make_unique<GradientReducer>(
        std::vector<Slot>{{"gradient", gradient, gradient}, {"objective", objective, objective}},
        GradientMeaning::sum, options, where_, std::move(hooks));
  }

  Function& function_;
  std::string name_;
  ProcessSet process_set_;
  RoundRobin samples_;
  std::vector<std::byte, SharedAllocator<std::byte>> memory_;  ///< the gradient
  std::vector<double, SharedAllocator<double>> objective_ =
      std::vector<double, SharedAllocator<double>>(1);
  std::shared_ptr<std::uint32_t> point_ = std::make_shared<std::uint32_t>(0);  ///< hash of x
  SourceLocation where_;
  std::unique_ptr<GradientReducer> reducer_;
};

/// Broadcasts rank 0's x, then runs optimizer.Optimize(function, x, arguments...) with the sum of
/// the function over all ranks, and returns its result. Collective, blocks. Errors: mismatch if the
/// optimizer evaluates at different points on different ranks.
template <typename Optimizer, typename Function, typename M, typename... Arguments>
auto optimize(Optimizer&& optimizer, Function& function, M& x, Arguments&&... arguments) {
  const TensorView start(detail::elements_of(x), {static_cast<std::int64_t>(detail::count_in(x))});
  broadcast("function/start", start, 0);
  DistributedFunction<Function> distributed(function);
  return optimizer.Optimize(distributed, x, std::forward<Arguments>(arguments)...);
}

}  // namespace ringleader
