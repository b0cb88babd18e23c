// SPDX-License-Identifier: Apache-2.0
//
// DistributedUpdate: for frameworks that call an optimizer once per tensor, with its gradient and
// its weights (as tiny-dnn does).
//
//   ringleader::DistributedUpdate<Vector> update(
//       [&](const Vector& gradient, Vector& weights) { adagrad.update(gradient, weights, true); },
//       ringleader::GradientMeaning::sum);
//   ...
//   update(gradient, weights);                      // where adagrad.update() was
//
// The first step learns the order of the tensors: each is broadcast, reduced and updated at once.
// From the second step on, gradients are copied and reduced together while others are still being
// computed. The last call of a step updates all weights, in the same order.
#pragma once

#include <ringleader/ops/collectives.h>
#include <ringleader/ops/gradient_reducer.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ringleader {

/// Vector  has data() and size() and can be copied
/// Threading: one thread at a time. Collective: every rank calls it for the same tensors in the
/// same order.
template <typename Vector>
class DistributedUpdate {
 public:
  /// The program's update: gradient and weights of one tensor.
  using Update = std::function<void(const Vector& gradient, Vector& weights)>;

  /// update: called once per tensor and step, after its gradient was reduced.
  DistributedUpdate(Update update, GradientMeaning meaning, OptimizerOptions options = {})
      : update_(std::move(update)), meaning_(meaning), options_(std::move(options)) {}

  /// `weights` must be the same objects in every step. `gradient` may be changed after the call.
  /// Errors: invalid_argument if the tensors or their order differ from the first step; those of
  /// allreduce.
  void operator()(const Vector& gradient, Vector& weights,
                  SourceLocation where = SourceLocation::current()) {
    const bool learning = reducer_ == nullptr;
    if (learning && (tensors_.empty() || &weights != tensors_.front().weights)) {
      return learn(gradient, weights, where);
    }
    if (learning) begin(where);
    Tensor& tensor = tensors_[next_];
    if (&weights != tensor.weights || gradient.size() != tensor.gradient.size()) {
      throw Error(Status(Code::invalid_argument, "DistributedUpdate '" + options_.name +
                                                     "': tensor " + std::to_string(next_) +
                                                     " is another one than in the first step"));
    }
    std::copy_n(gradient.data(), gradient.size(), tensor.gradient.data());
    reducer_->ready(next_, where);
    if (++next_ < tensors_.size()) return;
    next_ = 0;
    reducer_->synchronize(where);
    for (Tensor& each : tensors_) update_(each.gradient, *each.weights);
    reducer_->begin_step(where);
  }

 private:
  struct Tensor {
    Vector* weights;
    Vector gradient;
  };

  static TensorView view(Vector& vector) {
    return {vector.data(), {static_cast<std::int64_t>(vector.size())}};
  }

  void learn(const Vector& gradient, Vector& weights, SourceLocation where) {
    const std::string name = options_.name + "/" + std::to_string(tensors_.size());
    tensors_.push_back({&weights, gradient});
    broadcast(name + "/weights", view(weights), options_.root, options_.process_set, where);
    ReduceOptions reduce;
    reduce.process_set = options_.process_set;
    allreduce(name + "/gradient", view(tensors_.back().gradient), reduce_op_of(meaning_), reduce,
              where);
    update_(tensors_.back().gradient, weights);
  }

  void begin(SourceLocation where) {
    std::vector<Slot> slots;
    for (Tensor& tensor : tensors_) {
      slots.push_back({"tensor" + std::to_string(slots.size()),
                       view(*tensor.weights),
                       view(tensor.gradient),
                       {}});
    }
    OptimizerOptions options = options_;
    options.broadcast_parameters = false;  // equal on all ranks since the first step
    reducer_ = std::make_unique<GradientReducer>(std::move(slots), meaning_, options, where);
  }

  Update update_;
  GradientMeaning meaning_;
  OptimizerOptions options_;
  std::vector<Tensor> tensors_;
  std::unique_ptr<GradientReducer> reducer_;
  std::size_t next_ = 0;
};

}  // namespace ringleader
