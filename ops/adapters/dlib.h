// SPDX-License-Identifier: Apache-2.0
//
// dlib's deep neural networks (dlib/dnn.h), two ways.
//
// With a loop of the program's own, which is better because all gradients are reduced together:
//
//   ringleader::DistributedNet distributed(net, images[0]);   // makes and broadcasts parameters
//   ...
//   double loss = net.compute_parameter_gradients(images.begin(), images.end(), labels.begin());
//   distributed.reduce(&loss);
//   net.update_parameters(solvers, learning_rate);
//
// With dlib::dnn_trainer, which calls its solver for one layer after another and needs each result
// at once:
//
//   using Net = dlib::add_loss_layer<ringleader::AveragedLoss<dlib::loss_multiclass_log_>, Body>;
//   dlib::dnn_trainer<Net, ringleader::DistributedSolver<dlib::sgd>> trainer(net, ...);
//
// The trainer shrinks its learning rate when its loss stops falling. AveragedLoss makes that loss,
// and therefore the decision, the same on all ranks.
#pragma once

#include <ringleader/ops/broadcast.h>
#include <ringleader/ops/collectives.h>
#include <ringleader/ops/distributed_optimizer.h>
#include <ringleader/ops/session.h>

#include <dlib/dnn.h>

#include <cstddef>
#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ringleader {
namespace dlib_adapter {

inline TensorView view_of(dlib::tensor& tensor) {
  return {tensor.host(), {static_cast<std::int64_t>(tensor.size())}};
}

template <typename Net>
std::vector<dlib::tensor*> parameters_of(Net& net) {
  std::vector<dlib::tensor*> tensors;
  dlib::visit_layer_parameters(net, [&](std::size_t /*layer*/, dlib::tensor& tensor) {
    if (tensor.size() > 0) tensors.push_back(&tensor);
  });
  return tensors;
}

template <typename Net>
std::vector<dlib::tensor*> gradients_of(Net& net) {
  std::vector<dlib::tensor*> tensors;
  dlib::visit_layer_parameter_gradients(net, [&](std::size_t /*layer*/, dlib::tensor& tensor) {
    if (tensor.size() > 0) tensors.push_back(&tensor);
  });
  return tensors;
}

}  // namespace dlib_adapter

/// Averages the gradients of a network over the ranks, in a loop of the program's own.
/// Threading: one thread at a time.
template <typename Net>
class DistributedNet {
 public:
  /// Runs `net` on one input, because dlib allocates parameters only then, and broadcasts the
  /// root's parameters to all ranks. `net` must outlive this. Collective, blocks. Errors: mismatch.
  DistributedNet(Net& net, const typename Net::input_type& input,
                 const OptimizerOptions& options = {})
      : net_(net), options_(options) {
    const std::vector<typename Net::input_type> inputs(1, input);
    dlib::resizable_tensor tensor;
    net_.to_tensor(inputs.begin(), inputs.end(), tensor);
    net_.subnet().forward(tensor);
    // Broadcast now rather than when the first gradients exist: those depend on the parameters.
    if (!std::exchange(options_.broadcast_parameters, false)) return;
    std::vector<Slot> slots;
    for (dlib::tensor* const parameter : dlib_adapter::parameters_of(net_)) {
      const TensorView view = dlib_adapter::view_of(*parameter);
      slots.push_back({options_.name + "/parameter" + std::to_string(slots.size()), view, view});
    }
    broadcast_parameters(slots, options_.root, options_.process_set);
  }

  DistributedNet(const DistributedNet&) = delete;
  DistributedNet& operator=(const DistributedNet&) = delete;

  /// Call after compute_parameter_gradients(). Replaces the gradients, and `loss` if it is given,
  /// with their means over the ranks. Blocks. Errors: those of DistributedOptimizer.
  void reduce(double* loss = nullptr, SourceLocation where = SourceLocation::current()) {
    const auto gradients = dlib_adapter::gradients_of(net_);
    std::vector<const void*> addresses;
    for (const dlib::tensor* gradient : gradients) addresses.push_back(gradient->host());
    if (addresses != addresses_) wrap(gradients, where);
    addresses_ = std::move(addresses);
    loss_ = loss == nullptr ? 0.0 : *loss;
    reducer_->synchronize(where);
    reducer_->begin_step(where);
    if (loss != nullptr) *loss = loss_;
  }

 private:
  void wrap(const std::vector<dlib::tensor*>& gradients, SourceLocation where) {
    reducer_.reset();
    const auto parameters = dlib_adapter::parameters_of(net_);
    std::vector<Slot> slots;
    for (std::size_t i = 0; i < gradients.size(); ++i) {
      slots.push_back({"parameter" + std::to_string(i),
                       dlib_adapter::view_of(*parameters.at(i)),
                       dlib_adapter::view_of(*gradients[i]),
                       {}});
    }
    const TensorView loss(&loss_, {1});
    slots.push_back({"loss", loss, loss, {}});
    reducer_ =
        std::make_unique<GradientReducer>(std::move(slots), GradientMeaning::mean, options_, where);
  }

  Net& net_;
  OptimizerOptions options_;
  double loss_ = 0;
  std::vector<const void*> addresses_;  ///< of the gradients, which dlib may reallocate
  std::unique_ptr<GradientReducer> reducer_;
};

/// A solver for dlib::dnn_trainer. The ranks must begin with the same parameters. dlib's are the
/// same, unless the program seeds std::rand() by rank.
template <typename Solver>
class DistributedSolver {
 public:
  DistributedSolver() : DistributedSolver(Solver()) {}
  /// solver: copied for each layer. name: of the operations; must be equal on all ranks.
  explicit DistributedSolver(Solver solver, std::string name = "solver")
      : solver_(std::move(solver)), name_(std::move(name)) {}

  // The trainer makes one copy per layer, and calls them in the same order on all ranks.
  /// Shares the count of layers with the object that it is copied from.
  DistributedSolver(const DistributedSolver& other)
      : solver_(other.solver_), name_(other.name_), layers_(other.layers_) {}
  /// Shares the count of layers likewise.
  DistributedSolver& operator=(const DistributedSolver& other) {
    solver_ = other.solver_;
    name_ = other.name_;
    layers_ = other.layers_;
    layer_ = -1;
    return *this;
  }

  /// The wrapped solver's weight decay; the trainer asks for it.
  float get_weight_decay() const { return solver_.get_weight_decay(); }

  /// Averages the gradient over the ranks, then returns the wrapped solver's update. Blocks.
  template <typename Layer>
  const dlib::tensor& operator()(float learning_rate, const Layer& layer,
                                 const dlib::tensor& gradient) {
    if (layer_ < 0) layer_ = (*layers_)++;
    averaged_.copy_size(gradient);
    const auto count = static_cast<std::int64_t>(gradient.size());
    allreduce(name_ + "/" + std::to_string(layer_), ConstTensorView(gradient.host(), {count}),
              TensorView(averaged_.host_write_only(), {count}));
    return solver_(learning_rate, layer, averaged_);
  }

  /// Writes the wrapped solver's state, as dnn_trainer does for its synchronization file. Errors:
  /// unsupported on all ranks but 0, because the ranks would overwrite each other's files. Only
  /// rank 0 calls set_synchronization_file().
  friend void serialize(const DistributedSolver& item, std::ostream& out) {
    if (rank() != 0) {
      throw Error(Status(Code::unsupported, "DistributedSolver '" + item.name_ +
                                                "': set_synchronization_file() is for "
                                                "rank 0 alone; all ranks hold the same"));
    }
    using dlib::serialize;
    serialize(item.solver_, out);
  }
  /// Reads the wrapped solver's state.
  friend void deserialize(DistributedSolver& item, std::istream& in) {
    using dlib::deserialize;
    deserialize(item.solver_, in);
  }
  /// Names the wrapped solver.
  friend std::ostream& operator<<(std::ostream& out, const DistributedSolver& item) {
    return out << "distributed " << item.solver_;
  }

 private:
  Solver solver_;
  std::string name_;
  std::shared_ptr<int> layers_ = std::make_shared<int>(0);  ///< numbers given to copies
  int layer_ = -1;
  dlib::resizable_tensor averaged_;
};

/// A loss layer whose value is the mean over the ranks. Its gradient remains that of the local
/// batch.
template <typename Loss>
class AveragedLoss : public Loss {
 public:
  using Loss::Loss;

  /// The loss of the wrapped layer, averaged over the ranks. Blocks.
  template <typename... Arguments>
  double compute_loss_value_and_gradient(Arguments&&... arguments) const {
    double loss = Loss::compute_loss_value_and_gradient(std::forward<Arguments>(arguments)...);
    allreduce("dlib/loss", TensorView(&loss, {1}));
    return loss;
  }
};

}  // namespace ringleader
