// SPDX-License-Identifier: Apache-2.0
//
// An optimizer that owns the loop and calls the program's function: dlib's L-BFGS on the whole
// training set. Each rank has a part of the images; the function is the sum over all ranks.
//
//   $ mpirun -n 2 build/release/examples/lbfgs
#include <ringleader/ringleader.h>

#include <dlib/optimization.h>

#include "softmax_regression.h"

namespace {

using Vector = std::vector<double>;

/// The loss of this rank's images, with a little weight decay that is divided among all ranks.
class Loss {
 public:
  Loss(const train_mnist::Samples& samples, int rank, int size) : decay_(1e-3 / size) {
    std::vector<std::int64_t> own;
    for (std::int64_t i = rank; i < samples.count(); i += size) own.push_back(i);
    fill(batch_, samples, own);
    scale_ = 1.0 / static_cast<double>(samples.count());
  }
  double EvaluateWithGradient(const Vector& x, Vector& gradient) const {
    gradient.resize(x.size());
    double squares = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      gradient[i] = decay_ * x[i];
      squares += x[i] * x[i];
    }
    const double sum = example::loss_and_gradient(x.data(), batch_, scale_, gradient.data());
    return scale_ * sum + decay_ / 2 * squares;
  }

 private:
  train_mnist::Batch batch_;
  double decay_;
  double scale_ = 1;
};

/// dlib's optimizer in the shape that ringleader::optimize() calls.
struct Lbfgs {
  unsigned long iterations;

  template <typename Function>
  double Optimize(Function& function, Vector& start) const {
    using Column = dlib::matrix<double, 0, 1>;
    Column x = dlib::mat(start);
    Vector at(start.size());
    Vector slope(start.size());
    const auto value = [&](const Column& point) {
      std::copy(point.begin(), point.end(), at.begin());
      return function.EvaluateWithGradient(at, slope);
    };
    const auto gradient = [&](const Column& point) {
      value(point);
      return Column(dlib::mat(slope));
    };
    const double least = dlib::find_min(dlib::lbfgs_search_strategy(10),
                                        dlib::objective_delta_stop_strategy(1e-7, iterations),
                                        value, gradient, x, 0);
    std::copy(x.begin(), x.end(), start.begin());
    return least;
  }
};

}  // namespace

int main(int argc, char** argv) {
  const example::Start start = example::start(argc, argv, "lbfgs");
  ringleader::init();
  Loss loss(start.data.train, ringleader::rank(), ringleader::size());
  Vector weights(example::kWeights, 0.0);
  const Lbfgs lbfgs{static_cast<unsigned long>(10 * start.options.epochs)};
  const double least = ringleader::optimize(lbfgs, loss, weights);
  return example::finish(least, example::count_correct(weights.data(), start.data.test),
                         start.data.test.count(), {weights.begin(), weights.end()});
}
