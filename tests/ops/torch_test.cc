// SPDX-License-Identifier: Apache-2.0
//
// LibTorch's optimizers on 1 to 3 ranks, compared with one process that sees the whole batch.
#include <ringleader/ops/adapters/torch.h>
#include <ringleader/ringleader.h>

#include <memory>

#undef CHECK  // that of LibTorch's logging ends the program
#include "../support/catch.h"
#include "outcome.h"

using namespace ringleader;
using ringleader::test::outcome_of;

namespace {

constexpr std::int64_t kShare = 32;  ///< samples per rank and step

struct NetImpl : torch::nn::Module {
  NetImpl() {
    register_module("first", first);
    register_module("second", second);
    register_module("norm", norm);
    register_module("unused", unused);
  }
  torch::Tensor forward(const torch::Tensor& x) { return second(torch::tanh(first(x))); }
  torch::nn::Linear first{10, 24};
  torch::nn::Linear second{24, 3};
  torch::nn::BatchNorm1d norm{5};
  torch::nn::Linear unused{2, 2};
};
TORCH_MODULE(Net);

Net make_net(std::uint64_t seed = 7) {
  torch::manual_seed(seed);
  return Net();
}

/// Samples [begin, begin + count) of all.
torch::Tensor samples(std::int64_t begin, std::int64_t count) {
  const auto numbers = torch::arange(begin, begin + count, torch::kFloat32).unsqueeze(1);
  return torch::sin(numbers * torch::arange(1, 11, torch::kFloat32).unsqueeze(0) * 0.37);
}
torch::Tensor loss_of(Net& net, std::int64_t begin, std::int64_t count) {
  const torch::Tensor x = samples(begin, count);
  return torch::mse_loss(net(x), torch::cos(x.narrow(1, 0, 3) * 2));
}

std::vector<torch::optim::OptimizerParamGroup> two_groups(Net& net) {
  std::vector<torch::optim::OptimizerParamGroup> groups;
  const auto all = net->parameters();
  groups.emplace_back(std::vector<torch::Tensor>(all.begin(), all.begin() + 2));
  groups.emplace_back(std::vector<torch::Tensor>(all.begin() + 2, all.end()));
  return groups;
}

double relative_difference(Net& a, Net& b) {
  double worst = 0;
  const auto theirs = b->parameters();
  for (std::size_t i = 0; i < a->parameters().size(); ++i) {
    const auto gap = (a->parameters()[i] - theirs[i]).abs().max().item<double>();
    worst = std::max(worst, gap / std::max(theirs[i].abs().max().item<double>(), 1e-12));
  }
  return worst;
}

bool same_bits_everywhere(Net& net) {
  bool same = true;
  for (const torch::Tensor& parameter : net->parameters()) {
    torch::Tensor copy = parameter.detach().clone();
    broadcast("check", torch_adapter::view_of(copy, "check"), 0);
    same = same && torch::equal(copy, parameter.detach());
  }
  return same;
}

template <typename Make>
void compare(Make make) {
  Net alone = make_net();
  auto reference = make(alone);
  Net net = make_net(rank() == 0 ? 7 : 8);  // the others' parameters are overwritten
  auto inner = make(net);
  DistributedOptimizer optimizer(*inner);
  const std::int64_t global = kShare * size();
  for (std::int64_t step = 0; step < 50; ++step) {
    reference->zero_grad();
    loss_of(alone, step * global, global).backward();
    reference->step();
    optimizer.zero_grad();
    loss_of(net, step * global + rank() * kShare, kShare).backward();
    optimizer.step();
  }
  CHECK(relative_difference(net, alone) <= 1e-5);
  CHECK(same_bits_everywhere(net));
}

}  // namespace

TEST_CASE("torch SGD with momentum, two groups: N ranks compute what one does") {
  compare([](Net& net) {
    auto sgd = std::make_unique<torch::optim::SGD>(two_groups(net),
                                                   torch::optim::SGDOptions(0.05).momentum(0.9));
    static_cast<torch::optim::SGDOptions&>(sgd->param_groups()[0].options()).weight_decay(0.01);
    return sgd;
  });
}

TEST_CASE("torch AdamW, two groups: N ranks compute what one does") {
  compare([](Net& net) {
    auto adamw =
        std::make_unique<torch::optim::AdamW>(two_groups(net), torch::optim::AdamWOptions(1e-3));
    static_cast<torch::optim::AdamWOptions&>(adamw->param_groups()[0].options()).weight_decay(0.1);
    return adamw;
  });
}

TEST_CASE("torch Adam, RMSprop, Adagrad") {
  compare([](Net& net) {
    return std::make_unique<torch::optim::Adam>(net->parameters(), torch::optim::AdamOptions(1e-3));
  });
  compare([](Net& net) {
    return std::make_unique<torch::optim::RMSprop>(net->parameters(),
                                                   torch::optim::RMSpropOptions(1e-3));
  });
  compare([](Net& net) {
    return std::make_unique<torch::optim::Adagrad>(net->parameters(),
                                                   torch::optim::AdagradOptions(1e-2));
  });
}

TEST_CASE("torch LBFGS: the closure has the loss and gradient of all ranks") {
  const auto make = [](Net& net) {
    return torch::optim::LBFGS(
        net->first->parameters(),
        torch::optim::LBFGSOptions(0.5).max_iter(8).line_search_fn("strong_wolfe"));
  };
  Net alone = make_net();
  Net net = make_net();
  auto reference = make(alone);
  auto inner = make(net);
  DistributedOptimizer optimizer(inner);
  const std::int64_t global = kShare * size();
  for (int step = 0; step < 5; ++step) {
    const torch::Tensor expected = reference.step([&] {
      reference.zero_grad();
      torch::Tensor loss = loss_of(alone, 0, global);
      loss.backward();
      return loss;
    });
    const torch::Tensor loss = optimizer.step([&] {
      optimizer.zero_grad();
      torch::Tensor own = loss_of(net, rank() * kShare, kShare);
      own.backward();
      return own;
    });
    CHECK(loss.item<double>() == Approx(expected.item<double>()).epsilon(1e-4));
  }
  CHECK(relative_difference(net, alone) <= 1e-3);  // line searches amplify rounding
  CHECK(same_bits_everywhere(net));
}

TEST_CASE("torch: a gradient is announced once per pass, and accumulates inside no_sync") {
  Net alone = make_net();
  torch::optim::SGD reference(alone->parameters(), 0.1);
  Net net = make_net();
  torch::optim::SGD inner(net->parameters(), 0.1);
  DistributedOptimizer optimizer(inner);
  const std::int64_t global = kShare * size();
  for (std::int64_t step = 0; step < 5; ++step) {
    reference.zero_grad();
    optimizer.zero_grad();
    for (std::int64_t pass = 0; pass < 3; ++pass) {
      const std::int64_t begin = (3 * step + pass) * global;
      (loss_of(alone, begin, global) / 3).backward();
      const auto backward = [&] { (loss_of(net, begin + rank() * kShare, kShare) / 3).backward(); };
      if (pass < 2) {
        const auto guard = optimizer.no_sync();
        backward();
      } else {
        backward();
      }
    }
    reference.step();
    optimizer.step();
  }
  CHECK(relative_difference(net, alone) <= 1e-5);
}

TEST_CASE("torch: parameters that some ranks do not use contribute zeros there") {
  if (size() == 1) return;
  Net net = make_net();
  torch::optim::SGD inner(net->parameters(), 1.0);
  DistributedOptimizer optimizer(inner);
  const torch::Tensor before = net->unused->weight.detach().clone();
  for (int step = 0; step < 3; ++step) {
    optimizer.zero_grad();
    torch::Tensor loss = loss_of(net, 0, kShare);
    if (rank() == 1) loss = loss + net->unused->weight.sum();  // its gradient is one
    loss.backward();
    optimizer.step();
  }
  const torch::Tensor expected = before - 3.0 / size();
  CHECK((net->unused->weight.detach() - expected).abs().max().item<double>() < 1e-5);
  CHECK(same_bits_everywhere(net));
}

TEST_CASE("torch: gradients that zero_grad() drops, as in 2.x, come back to their place") {
  Net net = make_net();
  torch::optim::SGD inner(net->parameters(), 0.1);
  DistributedOptimizer optimizer(inner);
  const void* place = nullptr;
  const torch::Tensor before = net->first->bias.detach().clone();
  for (int step = 0; step < 2; ++step) {
    for (torch::Tensor& parameter : net->parameters()) parameter.mutable_grad() = torch::Tensor();
    loss_of(net, rank() * kShare, kShare).backward();
    optimizer.step();
    if (step == 0) place = net->first->weight.grad().data_ptr();
    CHECK(net->first->weight.grad().data_ptr() == place);
    CHECK_FALSE(net->unused->weight.grad().defined());
  }
  CHECK_FALSE(torch::equal(before, net->first->bias.detach()));
  CHECK(same_bits_everywhere(net));
}

TEST_CASE("torch: steps send no control messages, and hooks end with the wrapper") {
  Net net = make_net();
  torch::optim::SGD inner(net->parameters(), 0.1);
  {
    DistributedOptimizer optimizer(inner);
    std::uint64_t before = 0;
    for (int step = 0; step < 10; ++step) {
      optimizer.zero_grad();
      loss_of(net, 0, kShare).backward();
      optimizer.step();
      if (step == 3) before = counters().control_messages;
    }
    CHECK(counters().control_messages == before);
  }
  inner.zero_grad();
  loss_of(net, 0, kShare).backward();  // reduces nothing, and writes to no memory of the wrapper
  inner.step();
  DistributedOptimizer again(inner);
  again.step();
}

TEST_CASE("torch: a parameter group that is added after wrapping is noticed") {
  Net net = make_net();
  torch::optim::SGD inner(net->first->parameters(), 0.1);
  DistributedOptimizer optimizer(inner);
  optimizer->add_param_group(torch::optim::OptimizerParamGroup(net->second->parameters()));
  CHECK(outcome_of([&] { optimizer.step(); }).message().find("has 4 parameters, and had 2") !=
        std::string::npos);
}

TEST_CASE("torch: models that differ between ranks are refused") {
  if (size() == 1) return;
  torch::nn::Linear layer(rank() == 0 ? 4 : 5, 3);
  torch::optim::SGD inner(layer->parameters(), 0.1);
  const Status status = outcome_of([&] { DistributedOptimizer optimizer(inner); });
  CHECK(status.code() == Code::mismatch);
  CHECK(status.message().find("group0.parameter0") != std::string::npos);
}

TEST_CASE("torch: buffers are broadcast, and averaged") {
  Net net = make_net();
  net->norm->running_mean.fill_(rank());
  average_buffers(*net);
  CHECK(net->norm->running_mean[4].item<float>() == Approx((size() - 1) / 2.0));
  net->norm->running_mean.fill_(rank() + 1);
  broadcast_buffers(*net);
  CHECK(net->norm->running_mean[0].item<float>() == 1.F);
}

TEST_CASE("torch: verify_equivalence names a sum where a mean belongs") {
  const auto verify = [](GradientMeaning meaning) {
    return verify_equivalence([&](const EquivalenceRun& run) {
      Net net = make_net();
      torch::optim::SGD inner(net->parameters(), 0.1);
      DistributedOptimizer optimizer(inner, meaning, run.options);
      for (int step = 0; step < run.steps; ++step) {
        const std::int64_t share = 60 / run.size;
        optimizer.zero_grad();
        loss_of(net, step * 60 + run.rank * share, share).backward();
        optimizer.step();
      }
      return copies_of(OptimizerAdapter<torch::optim::SGD>().slots(inner));
    });
  };
  const EquivalenceReport right = verify(GradientMeaning::mean);
  INFO(right.text);
  CHECK(right.equal);
  // The normalization and the last layer, which forward() leaves out.
  CHECK(right.unused_parameters ==
        std::vector<std::string>{"group0.parameter4", "group0.parameter5", "group0.parameter6",
                                 "group0.parameter7"});
  if (size() == 1) return;
  const EquivalenceReport wrong = verify(GradientMeaning::sum);
  CHECK_FALSE(wrong.equal);
  CHECK(wrong.text.find("GradientMeaning::sum") != std::string::npos);
}
