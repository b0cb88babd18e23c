// SPDX-License-Identifier: Apache-2.0
//
// A dlib network with a training loop of the program's own. Three lines make it data-parallel.
//
//   $ mpirun -n 2 build/release/examples/dlib_mnist
#include <ringleader/ops/adapters/dlib.h>
#include <ringleader/ringleader.h>

#include <cmath>
#include <cstdio>
#include <vector>

#include "mnist_example.h"

namespace {

using Image = dlib::matrix<float>;
using Net = dlib::loss_multiclass_log<dlib::fc<
    10, dlib::relu<dlib::fc<
            64, dlib::max_pool<2, 2, 2, 2,
                               dlib::relu<dlib::con<8, 5, 5, 2, 2, dlib::input<Image>>>>>>>>;

struct Inputs {
  std::vector<Image> images;
  std::vector<unsigned long> labels;
};

Inputs inputs_of(const train_mnist::Batch& batch) {
  Inputs inputs;
  for (std::size_t i = 0; i < batch.labels.size(); ++i) {
    const float* const pixels = batch.pixels.data() + i * train_mnist::kImagePixels;
    inputs.images.push_back(dlib::mat(pixels, train_mnist::kImageSide, train_mnist::kImageSide));
    inputs.labels.push_back(batch.labels[i]);
  }
  return inputs;
}

std::int64_t count_correct(Net& net, const train_mnist::Samples& samples) {
  const auto order = example::in_order(samples.count());
  std::int64_t correct = 0;
  for (std::int64_t step = 0; step < example::steps_of(order, 1000); ++step) {
    const Inputs inputs = inputs_of(example::batch_of(samples, order, step, 1000));
    const auto guesses = net(inputs.images);
    for (std::size_t i = 0; i < guesses.size(); ++i) correct += guesses[i] == inputs.labels[i];
  }
  return correct;
}

std::vector<float> values_of(Net& net) {
  std::vector<float> values;
  dlib::visit_layer_parameters(net, [&](std::size_t /*layer*/, dlib::tensor& tensor) {
    values.insert(values.end(), tensor.begin(), tensor.end());
  });
  return values;
}

}  // namespace

int main(int argc, char** argv) {
  const example::Start start = example::start(argc, argv, "dlib_mnist");
  const train_mnist::Samples& samples = start.data.train;

  ringleader::init();  // line 1 of 3
  Net net;
  std::vector<dlib::sgd> solvers(Net::num_computational_layers, dlib::sgd(0.0005F, 0.9F));
  // Line 2 of 3: dlib allocates parameters when it sees the first image.
  ringleader::DistributedNet distributed(net, Image(dlib::zeros_matrix<float>(28, 28)));

  double loss = 0;
  for (int epoch = 0; epoch < start.options.epochs; ++epoch) {
    const auto order = ringleader::DistributedSampler(samples.count()).indices(epoch);
    const std::int64_t batch_size = start.options.batch_size;
    for (std::int64_t step = 0; step < example::steps_of(order, batch_size); ++step) {
      const Inputs inputs = inputs_of(example::batch_of(samples, order, step, batch_size));
      dlib::resizable_tensor images;
      net.to_tensor(inputs.images.begin(), inputs.images.end(), images);
      loss = net.compute_parameter_gradients(images, inputs.labels.begin());
      distributed.reduce(&loss);  // line 3 of 3
      net.update_parameters(solvers, 0.01);
    }
  }
  return example::finish(loss, count_correct(net, start.data.test), start.data.test.count(),
                         values_of(net));
}
