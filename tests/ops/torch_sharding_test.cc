// SPDX-License-Identifier: Apache-2.0
//
// Unmodified optimizers of LibTorch whose state is divided among the ranks.
#include <ringleader/ops/adapters/torch.h>
#include <ringleader/ringleader.h>

#include <memory>

#undef CHECK  // that of LibTorch's logging ends the program
#include "../support/catch.h"
#include "outcome.h"

using namespace ringleader;
using ringleader::test::outcome_of;

namespace {

torch::nn::Sequential make_net() {
  torch::manual_seed(3);
  return torch::nn::Sequential(torch::nn::Linear(10, 33), torch::nn::Tanh(),
                               torch::nn::Linear(33, 5));
}

std::vector<torch::optim::OptimizerParamGroup> two_groups(torch::nn::Sequential& net) {
  const auto all = net->parameters();
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>(all.begin(), all.begin() + 3));
  groups.emplace_back(std::vector<torch::Tensor>(all.begin() + 3, all.end()));
  return groups;
}

torch::Tensor loss_of(torch::nn::Sequential& net, int step) {
  const auto x = torch::sin(torch::arange(320, torch::kFloat32).reshape({32, 10}) * 0.1 +
                            (rank() + 10 * step));
  return torch::mse_loss(net->forward(x), torch::cos(x.narrow(1, 0, 5)));
}

template <typename Make>
void compare(Make make) {
  torch::nn::Sequential whole = make_net();
  torch::nn::Sequential divided = make_net();
  auto reference = make(whole);
  auto inner = make(divided);
  {
    DistributedOptimizer replicated(*reference);
    OptimizerOptions options;
    options.name = "sharded";
    options.sharding = Sharding::optimizer_state;
    DistributedOptimizer optimizer(*inner, options);
    for (int step = 0; step < 20; ++step) {
      replicated.zero_grad();
      loss_of(whole, step).backward();
      replicated.step();
      optimizer.zero_grad();
      loss_of(divided, step).backward();
      optimizer.step();
    }
    std::int64_t shard = 0;
    for (auto& group : inner->param_groups()) {
      for (const torch::Tensor& parameter : group.params()) shard += parameter.numel();
    }
    std::int64_t total = 0;
    for (const torch::Tensor& parameter : divided->parameters()) total += parameter.numel();
    CHECK(shard <= total / size() + 2 * 16);
  }
  for (std::size_t i = 0; i < whole->parameters().size(); ++i) {
    CHECK(torch::equal(whole->parameters()[i], divided->parameters()[i]));
  }
  CHECK(inner->param_groups()[0].params()[0].data_ptr() ==
        divided->parameters()[0].data_ptr());  // it has its own parameters back
}

}  // namespace

TEST_CASE("torch: learning rates that differ between ranks are refused") {
  if (size() == 1) return;
  torch::nn::Sequential net = make_net();
  torch::optim::SGD sgd(net->parameters(), rank() == 1 ? 0.2 : 0.1);
  const Status status = outcome_of([&] { DistributedOptimizer optimizer(sgd); });
  CHECK(status.code() == Code::mismatch);
  CHECK(status.message().find("the learning rate of group 0: rank 0 has 0.1, rank 1 has 0.2") !=
        std::string::npos);
}

TEST_CASE("torch, sharded: the same bits as replicated, in two groups") {
  compare([](torch::nn::Sequential& net) {
    auto adamw =
        std::make_unique<torch::optim::AdamW>(two_groups(net), torch::optim::AdamWOptions(1e-2));
    static_cast<torch::optim::AdamWOptions&>(adamw->param_groups()[1].options()).weight_decay(0.2);
    return adamw;
  });
  compare([](torch::nn::Sequential& net) {
    return std::make_unique<torch::optim::SGD>(
        two_groups(net), torch::optim::SGDOptions(0.05).momentum(0.9).nesterov(true));
  });
}

TEST_CASE("torch, sharded: L-BFGS, and optimizers that have stepped, are refused") {
  torch::nn::Sequential net = make_net();
  OptimizerOptions options;
  options.sharding = Sharding::optimizer_state;
  torch::optim::LBFGS lbfgs(net->parameters());
  CHECK(outcome_of([&] { DistributedOptimizer o(lbfgs, options); })
            .message()
            .find("not known to update every element") != std::string::npos);
  torch::optim::Adam adam(net->parameters());
  loss_of(net, 0).backward();
  adam.step();
  CHECK(outcome_of([&] { DistributedOptimizer o(adam, options); })
            .message()
            .find("before its first step") != std::string::npos);
}
