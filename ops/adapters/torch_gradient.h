// SPDX-License-Identifier: Apache-2.0
//
// Views of LibTorch's tensors, gradients that the library keeps in memory of its own, and the hooks
// that tell it about a backward pass. Included by torch.h.
#pragma once

#include <ringleader/core/status.h>
#include <ringleader/core/tensor.h>
#include <ringleader/ops/optimizer_adapter.h>

#include <torch/torch.h>

#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/accumulate_grad.h>
#include <torch/csrc/autograd/variable.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace ringleader {
namespace torch_adapter {

inline DType dtype_of(torch::ScalarType type) {
  switch (type) {
    case torch::kFloat32:
      return DType::f32;
    case torch::kFloat64:
      return DType::f64;
    case torch::kFloat16:
      return DType::f16;
    case torch::kBFloat16:
      return DType::bf16;
    case torch::kInt32:
      return DType::i32;
    case torch::kInt64:
      return DType::i64;
    case torch::kInt8:
      return DType::i8;
    case torch::kUInt8:
      return DType::u8;
    default:
      throw Error(Status(Code::unsupported, std::string("tensors of type ") +
                                                torch::toString(type) + " cannot be reduced"));
  }
}

inline torch::ScalarType type_of(DType dtype) {
  for (const auto type : {torch::kFloat32, torch::kFloat64, torch::kFloat16, torch::kBFloat16}) {
    if (dtype_of(type) == dtype) return type;
  }
  throw Error(Status(Code::unsupported, "shards are of floating-point numbers"));
}

/// All elements of a tensor in host memory without gaps, in memory order.
inline TensorView view_of(const torch::Tensor& tensor, const std::string& name) {
  if (tensor.is_sparse()) {
    throw Error(
        Status(Code::unsupported, "tensor '" + name +
                                      "' is sparse, and only dense ones can be reduced; make "
                                      "its layer with sparse(false)"));
  }
  if (!tensor.device().is_cpu() || !tensor.is_non_overlapping_and_dense()) {
    throw Error(Status(Code::unsupported,
                       "tensor '" + name + "' is not a dense tensor in host memory without gaps"));
  }
  return {tensor.data_ptr(), Shape(tensor.sizes().begin(), tensor.sizes().end()),
          dtype_of(tensor.scalar_type())};
}

/// The same for tensors that are only copied. Types that cannot be reduced are viewed as bytes.
inline TensorView bytes_or_elements(const torch::Tensor& tensor, const std::string& name) {
  switch (tensor.scalar_type()) {
    case torch::kFloat32:
    case torch::kFloat64:
    case torch::kInt64:
      return view_of(tensor, name);
    default:
      if (!tensor.device().is_cpu() || !tensor.is_non_overlapping_and_dense()) {
        return view_of(tensor, name);  // throws
      }
      return {static_cast<std::uint8_t*>(tensor.data_ptr()),
              {static_cast<std::int64_t>(tensor.nbytes())}};
  }
}

/// The gradient of one parameter as a tensor in memory of ours. In 2.x, zero_grad() drops the
/// gradient and backward() then makes another one: bring() brings that back to our memory.
class Gradient {
 public:
  Gradient(torch::Tensor parameter, std::string name)
      : parameter_(std::move(parameter)),
        name_(std::move(name)),
        home_(torch::zeros_like(parameter_.detach())) {
    const torch::Tensor gradient = parameter_.grad();
    own_ = home_;
    if (gradient.defined()) bring();
  }

  const torch::Tensor& parameter() const { return parameter_; }
  const torch::Tensor& own() const { return own_; }
  const std::string& name() const { return name_; }
  bool is_there() const { return parameter_.grad().defined(); }

  /// Keeps the gradient at `memory` from now on. The elements are there already.
  void move_to(void* memory) {
    // A tensor of its own rather than a view, which zero_grad() of 1.13 could not detach.
    own_ = memory == home_.data_ptr()
               ? home_
               : torch::from_blob(memory, parameter_.sizes(), parameter_.strides(),
                                  parameter_.options().requires_grad(false));
    if (is_there()) parameter_.mutable_grad() = own_;
  }

  /// Copies the gradient to our memory if it is elsewhere.
  void bring() {
    const torch::Tensor now = parameter_.grad();
    if (now.is_sparse()) static_cast<void>(view_of(now, name_));  // throws
    if (now.data_ptr() == own_.data_ptr()) return;
    if (now.sizes() != own_.sizes() || now.scalar_type() != own_.scalar_type()) {
      throw Error(
          Status(Code::invalid_argument, "the gradient of '" + name_ +
                                             "' is of another type or shape than when "
                                             "its optimizer was wrapped; change the model before"));
    }
    const torch::NoGradGuard no_grad;
    own_.copy_(now);
    parameter_.mutable_grad() = own_;
  }

  /// Makes the tensor in our memory the parameter's gradient.
  void put() { parameter_.mutable_grad() = own_; }

  /// Errors: invalid_argument if the model has been changed so that the gradient no longer fits.
  void check(const torch::Tensor& listed) const {
    const bool same = listed.unsafeGetTensorImpl() == parameter_.unsafeGetTensorImpl();
    if (same && listed.scalar_type() == own_.scalar_type() && listed.sizes() == own_.sizes())
      return;
    throw Error(Status(Code::invalid_argument,
                       "parameter '" + name_ +
                           "' is another tensor, or of another type or shape, "
                           "than when its optimizer was wrapped; change the model before"));
  }

 private:
  torch::Tensor parameter_;
  std::string name_;
  torch::Tensor home_;  ///< where the gradient was before
  torch::Tensor own_;
};

using AccumulatorPointer =
    std::decay_t<decltype(torch::autograd::impl::grad_accumulator(std::declval<torch::Tensor>()))>;

/// State that the hooks of one wrapper share. A hook that outlives the wrapper does nothing.
struct Hooks : std::enable_shared_from_this<Hooks> {
  explicit Hooks(BackwardEvents callbacks) : events(std::move(callbacks)) {}

  /// One backward pass, from its first gradient on. The engine destroys it along with its
  /// callbacks, even if the pass throws.
  struct Pass {
    explicit Pass(std::weak_ptr<Hooks> owner) : hooks(std::move(owner)) {}
    ~Pass() {
      const auto owner = hooks.lock();
      if (!ended && owner != nullptr) owner->events.failed();
    }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    std::weak_ptr<Hooks> hooks;
    bool ended = false;
  };

  void ready(std::size_t index) {
    if (pass.expired()) begin_pass();
    events.ready(index);
  }

  void begin_pass() {
    const auto begun = std::make_shared<Pass>(weak_from_this());
    pass = begun;
    // All wrappers submit what they have before the first waits; callbacks may add callbacks.
    torch::autograd::Engine::get_default_engine().queue_callback([begun] {
      const auto hooks = begun->hooks.lock();
      if (hooks == nullptr) return;
      const bool waits = hooks->events.ended();
      begun->ended = true;
      hooks->pass.reset();
      if (!waits) return;
      torch::autograd::Engine::get_default_engine().queue_callback(
          [hooks] { hooks->events.wait(); });
    });
  }

  BackwardEvents events;
  std::weak_ptr<Pass> pass;
  std::vector<AccumulatorPointer> accumulators;  ///< kept alive, or the hooks would be lost
};

class ReadyHook : public torch::autograd::FunctionPostHook {
 public:
  ReadyHook(std::weak_ptr<Hooks> hooks, std::shared_ptr<Gradient> gradient, std::size_t index)
      : hooks_(std::move(hooks)), gradient_(std::move(gradient)), index_(index) {}

  torch::autograd::variable_list operator()(
      const torch::autograd::variable_list& outputs,
      const torch::autograd::variable_list& /*inputs*/) override {
    if (const auto hooks = hooks_.lock()) {
      if (gradient_->is_there()) gradient_->bring();
      hooks->ready(index_);
    }
    return outputs;
  }

 private:
  std::weak_ptr<Hooks> hooks_;
  std::shared_ptr<Gradient> gradient_;
  std::size_t index_;
};

}  // namespace torch_adapter

}  // namespace ringleader
