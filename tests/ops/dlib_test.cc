// SPDX-License-Identifier: Apache-2.0
//
// dlib's networks on 1 to 3 ranks, compared with one process that sees the whole batch.
#include "../support/catch.h"

#include <ringleader/ops/adapters/dlib.h>
#include <ringleader/ringleader.h>

#include <cmath>
#include <cstdlib>

using namespace ringleader;

namespace {

using Input = dlib::matrix<float, 6, 1>;
template <typename Loss>
using Network =
    dlib::add_loss_layer<Loss, dlib::fc<3, dlib::relu<dlib::fc<8, dlib::input<Input>>>>>;
using Net = Network<dlib::loss_multiclass_log_>;
using AveragedNet = Network<AveragedLoss<dlib::loss_multiclass_log_>>;

constexpr int kShare = 12;  ///< samples per rank and step

struct Batch {
  std::vector<Input> inputs;
  std::vector<unsigned long> labels;
};

Batch batch_of(int begin, int count) {
  Batch batch;
  for (int i = begin; i < begin + count; ++i) {
    Input input;
    for (long k = 0; k < 6; ++k)
      input(k) = static_cast<float>(std::sin(i * 0.7 + 1.3 * static_cast<double>(k)));
    batch.inputs.push_back(input);
    batch.labels.push_back(static_cast<unsigned long>(input(0) > 0 ? input(1) > 0 : 2));
  }
  return batch;
}

template <typename N>
std::vector<float> values_of(N& net) {
  std::vector<float> values;
  for (dlib::tensor* tensor : dlib_adapter::parameters_of(net)) {
    values.insert(values.end(), tensor->begin(), tensor->end());
  }
  return values;
}

/// One step of the program's own loop; returns the loss of this process's batch.
template <typename N, typename Reduce>
double step(N& net, std::vector<dlib::adam>& solvers, const Batch& batch, Reduce reduce) {
  dlib::resizable_tensor tensor;
  net.to_tensor(batch.inputs.begin(), batch.inputs.end(), tensor);
  double loss = net.compute_parameter_gradients(tensor, batch.labels.begin());
  reduce(&loss);
  net.update_parameters(solvers, 0.01);
  return loss;
}

double largest_gap(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double gap = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    gap = std::max(gap, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  return gap;
}

void check_same_everywhere(std::vector<float> values) {
  const std::vector<float> own = values;
  broadcast("check", TensorView(values), 0);
  CHECK(own == values);
}

}  // namespace

TEST_CASE("dlib, a loop of the program's own: N ranks compute what one does") {
  Net alone;
  Net net;
  const Batch first = batch_of(0, 1);
  std::srand(5);        // dlib's first values depend on it
  alone(first.inputs);  // allocates
  std::srand(rank() == 0 ? 5 : 6);
  DistributedNet distributed(net, first.inputs[0]);
  std::vector<dlib::adam> solvers(Net::num_computational_layers);
  std::vector<dlib::adam> reference(Net::num_computational_layers);
  for (int i = 0; i < 40; ++i) {
    const int begin = i * kShare * size();
    const double expected =
        step(alone, reference, batch_of(begin, kShare * size()), [](double*) {});
    const double loss = step(net, solvers, batch_of(begin + rank() * kShare, kShare),
                             [&](double* own) { distributed.reduce(own); });
    CHECK(loss == Approx(expected).epsilon(1e-4));
  }
  CHECK(largest_gap(values_of(net), values_of(alone)) < 1e-4);
  check_same_everywhere(values_of(net));
}

TEST_CASE("dlib's trainer: the solver averages, and the loss is that of all ranks") {
  AveragedNet net;
  Net alone;
  dlib::dnn_trainer<AveragedNet, DistributedSolver<dlib::sgd>> trainer(
      net, DistributedSolver<dlib::sgd>(dlib::sgd(0.F, 0.9F)));
  dlib::dnn_trainer<Net, dlib::sgd> reference(alone, dlib::sgd(0.F, 0.9F));
  std::srand(5);
  net(batch_of(0, 1).inputs);
  std::srand(5);
  alone(batch_of(0, 1).inputs);
  trainer.set_learning_rate(0.05);
  reference.set_learning_rate(0.05);
  for (int i = 0; i < 40; ++i) {
    const int begin = i * kShare * size();
    const Batch all = batch_of(begin, kShare * size());
    const Batch own = batch_of(begin + rank() * kShare, kShare);
    reference.train_one_step(all.inputs, all.labels);
    trainer.train_one_step(own.inputs, own.labels);
  }
  CHECK(trainer.get_average_loss() == Approx(reference.get_average_loss()).epsilon(1e-3));
  trainer.get_net(dlib::force_flush_to_disk::no);
  reference.get_net(dlib::force_flush_to_disk::no);
  CHECK(largest_gap(values_of(net), values_of(alone)) < 1e-4);
  check_same_everywhere(values_of(net));
}
