// SPDX-License-Identifier: Apache-2.0
//
// SyncBatchNorm on 1 to 3 ranks, compared with BatchNorm in one process that sees all samples.
#include <ringleader/ops/adapters/torch_sync_batch_norm.h>
#include <ringleader/ringleader.h>

#include <memory>

#undef CHECK  // that of LibTorch's logging ends the program
#include "../support/catch.h"

using namespace ringleader;

namespace {

constexpr std::int64_t kShare = 6;  ///< samples per rank
constexpr std::int64_t kChannels = 3;

/// Of all ranks.
torch::Tensor all_samples() {
  torch::manual_seed(5);
  return torch::randn({kShare * size(), kChannels, 4, 5}) * 0.1 + 3;
}
torch::Tensor own(const torch::Tensor& all) { return all.narrow(0, kShare * rank(), kShare); }

torch::nn::BatchNormOptions options() {
  return torch::nn::BatchNormOptions(kChannels).momentum(0.3);
}

double gap(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace

TEST_CASE("synchronized batch normalization is that of the whole batch") {
  const torch::Tensor all = all_samples();
  const torch::Tensor weights = torch::randn_like(all);  // of a loss that is no mean of channels
  torch::nn::BatchNorm2d alone(options());
  torch::Tensor x_alone = all.clone().set_requires_grad(true);
  const torch::Tensor y_alone = alone(x_alone);
  (y_alone.pow(3) * weights).mean().backward();

  SyncBatchNorm norm(options());
  torch::Tensor x = own(all).clone().set_requires_grad(true);
  const torch::Tensor y = norm(x);
  (y.pow(3) * own(weights)).mean().backward();

  CHECK(gap(y, own(y_alone)) < 1e-3);
  CHECK(gap(x.grad() / size(), own(x_alone.grad())) < 1e-5);
  CHECK(gap(norm->running_mean, alone->running_mean) < 1e-4);
  CHECK(gap(norm->running_var, alone->running_var) < 1e-6);
  allreduce("weight", torch_adapter::view_of(norm->weight.grad(), "weight"));
  CHECK(gap(norm->weight.grad(), alone->weight.grad()) < 1e-4);

  SECTION("and in evaluation uses what it has learnt") {
    norm->eval();
    alone->eval();
    CHECK(gap(norm(own(all)), own(alone(all))) < 1e-2);
  }
  SECTION("it differs from that of each rank's samples") {
    torch::nn::BatchNorm2d local(options());
    CHECK((size() == 1) == (gap(local(own(all)), y) < 1e-3));
  }
}

TEST_CASE("a network with it learns as one rank does from the whole batch") {
  torch::manual_seed(3);
  const torch::Tensor x = torch::randn({kShare * size(), 8});
  const torch::Tensor target = torch::cos(x.narrow(1, 0, 2));
  torch::nn::Linear first(8, kChannels);
  torch::nn::Linear last(kChannels, 2);
  torch::nn::Linear first_alone = std::dynamic_pointer_cast<torch::nn::LinearImpl>(first->clone());
  torch::nn::Linear last_alone = std::dynamic_pointer_cast<torch::nn::LinearImpl>(last->clone());
  torch::nn::Sequential alone(first_alone, torch::nn::BatchNorm1d(options()), last_alone);
  torch::nn::Sequential net(first, SyncBatchNorm(options()), last);

  torch::optim::SGD sgd_alone(alone->parameters(), 0.1);
  torch::optim::SGD sgd(net->parameters(), 0.1);
  DistributedOptimizer optimizer(sgd);
  for (int step = 0; step < 20; ++step) {
    sgd_alone.zero_grad();
    torch::mse_loss(alone->forward(x), target).backward();
    sgd_alone.step();
    optimizer->zero_grad();
    torch::mse_loss(net->forward(own(x)), own(target)).backward();
    optimizer.step();
  }
  const auto theirs = alone->parameters();
  for (std::size_t i = 0; i < theirs.size(); ++i)
    CHECK(gap(net->parameters()[i], theirs[i]) < 1e-5);
}

TEST_CASE("moments are combined over ranks with different numbers of values") {
  const std::int64_t count = rank();  // rank 0 has none
  const BatchMoments here{count, {static_cast<double>(rank())}, {2.0}};
  const BatchMoments all = combine_moments("moments", here);
  double n = 0;
  double sum = 0;
  double squares = 0;
  for (int r = 0; r < size(); ++r) {
    n += r;
    sum += r * r;
    squares += r * (2.0 + r * r);
  }
  CHECK(all.count == static_cast<std::int64_t>(n));
  if (n == 0) return;
  CHECK(all.means[0] == Approx(sum / n));
  CHECK(all.variances[0] == Approx(squares / n - sum / n * sum / n));
  CHECK_THROWS_AS(combine_moments("moments", {1, {0.0}, {}}), Error);
}
