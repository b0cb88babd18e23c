// SPDX-License-Identifier: Apache-2.0
//
// Orders of backward(), step() and what comes between them that LibTorch programs use; on 1 to 3
// ranks under mpirun. Each is compared with one process that has all samples.
#include "../support/catch.h"
#include "outcome.h"

#include <ringleader/ops/adapters/torch.h>
#include <ringleader/ringleader.h>

#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

using namespace ringleader;
using ringleader::test::outcome_of;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Inputs of this rank, or of all.
torch::Tensor inputs(int step, int first, int last) {
  std::vector<torch::Tensor> parts;
  for (int r = first; r < last; ++r) {
    parts.push_back(torch::full({4, 3}, 0.1 * step + 0.3 * r + 0.2));
  }
  return torch::cat(parts);
}

/// The same program twice: on all ranks, and in one process with everybody's samples.
struct Pair {
  torch::nn::Linear ours{3, 2};
  torch::nn::Linear whole{3, 2};

  Pair() {
    torch::manual_seed(5);
    for (std::size_t i = 0; i < 2; ++i) {
      const auto value = torch::randn(ours->parameters()[i].sizes());
      ours->parameters()[i].set_data(value.clone());
      whole->parameters()[i].set_data(value.clone());
    }
  }
  double gap() const {
    return (ours->weight - whole->weight).abs().max().item<double>() +
           (ours->bias - whole->bias).abs().max().item<double>();
  }
};

torch::Tensor loss_of(torch::nn::Linear& model, const torch::Tensor& x) {
  return model->forward(x).pow(2).mean();
}

}  // namespace

TEST_CASE("torch: after backward() gradients are final, so clipping them by hand is right") {
  Pair pair;
  torch::optim::SGD ours(pair.ours->parameters(), 0.1);
  torch::optim::SGD whole(pair.whole->parameters(), 0.1);
  DistributedOptimizer optimizer(ours);
  for (int step = 0; step < 6; ++step) {
    optimizer.zero_grad();
    loss_of(pair.ours, inputs(step, rank(), rank() + 1)).backward();
    torch::nn::utils::clip_grad_norm_(pair.ours->parameters(), 0.05);
    optimizer.step();
    whole.zero_grad();
    loss_of(pair.whole, inputs(step, 0, size())).backward();
    torch::nn::utils::clip_grad_norm_(pair.whole->parameters(), 0.05);
    whole.step();
  }
  CHECK(pair.gap() < 1e-5);
  CHECK(optimizer.parameters_identical());
}

TEST_CASE("torch: several backward passes before a step add up, as in one process") {
  Pair pair;
  torch::optim::SGD ours(pair.ours->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
  torch::optim::SGD whole(pair.whole->parameters(), torch::optim::SGDOptions(0.1).momentum(0.9));
  DistributedOptimizer optimizer(ours);
  for (int step = 0; step < 4; ++step) {
    pair.ours->zero_grad();  // the module's, which the wrapper does not see
    pair.whole->zero_grad();
    for (int pass = 0; pass < 3; ++pass) {
      loss_of(pair.ours, inputs(step + pass, rank(), rank() + 1)).backward();
      loss_of(pair.whole, inputs(step + pass, 0, size())).backward();
    }
    optimizer.step();
    whole.step();
  }
  CHECK(pair.gap() < 1e-5);
}

TEST_CASE("torch: a backward pass through another optimizer's model is no step of it") {
  Pair critic;
  Pair maker;
  torch::nn::Linear& d = critic.ours;
  torch::optim::SGD d_ours(critic.ours->parameters(), 0.1);
  torch::optim::SGD d_whole(critic.whole->parameters(), 0.1);
  const auto make = [](torch::nn::Linear& g, const torch::Tensor& x) {
    return torch::cat({g->forward(x), x.slice(1, 0, 1)}, 1);
  };
  torch::optim::SGD g_ours(maker.ours->parameters(), 0.1);
  torch::optim::SGD g_whole(maker.whole->parameters(), 0.1);
  OptimizerOptions options;
  options.name = "maker";
  DistributedOptimizer d_optimizer(d_ours);
  DistributedOptimizer g_optimizer(g_ours, options);
  const auto train = [&](torch::nn::Linear& judge, torch::nn::Linear& g, const auto& d_step,
                         const auto& g_step, const torch::Tensor& x) {
    judge->zero_grad();
    loss_of(judge, torch::sin(x)).backward();
    const torch::Tensor made = make(g, x);
    loss_of(judge, made.detach()).backward();
    d_step();
    g->zero_grad();
    (judge->forward(made) - 1).pow(2).mean().backward();
    g_step();
  };
  for (int step = 0; step < 4; ++step) {
    train(
        d, maker.ours, [&] { d_optimizer.step(); }, [&] { g_optimizer.step(); },
        inputs(step, rank(), rank() + 1));
    train(
        critic.whole, maker.whole, [&] { d_whole.step(); }, [&] { g_whole.step(); },
        inputs(step, 0, size()));
  }
  CHECK(critic.gap() + maker.gap() < 1e-5);
}

TEST_CASE("torch: parameters that are thawed, or frozen, train as in one process") {
  Pair pair;
  torch::optim::SGD ours(pair.ours->parameters(), 0.1);
  torch::optim::SGD whole(pair.whole->parameters(), 0.1);
  pair.ours->weight.set_requires_grad(false);
  pair.whole->weight.set_requires_grad(false);
  DistributedOptimizer optimizer(ours);
  for (int step = 0; step < 9; ++step) {
    if (step == 3 || step == 6) {
      pair.ours->weight.set_requires_grad(step == 3);
      pair.whole->weight.set_requires_grad(step == 3);
      if (step == 6) {
        pair.ours->weight.mutable_grad().reset();
        pair.whole->weight.mutable_grad().reset();
      }
    }
    optimizer.zero_grad();
    loss_of(pair.ours, inputs(step, rank(), rank() + 1)).backward();
    optimizer.step();
    whole.zero_grad();
    loss_of(pair.whole, inputs(step, 0, size())).backward();
    whole.step();
  }
  CHECK(pair.gap() < 1e-5);
  CHECK(optimizer.parameters_identical());
}

TEST_CASE("torch: gradients set by hand are reduced, or refused by name if they come too late") {
  Pair pair;
  torch::optim::SGD ours(pair.ours->parameters(), 0.1);
  torch::optim::SGD whole(pair.whole->parameters(), 0.1);
  DistributedOptimizer optimizer(ours);
  const auto set = [](torch::nn::Linear& model, const torch::Tensor& x) {
    const std::vector<torch::Tensor> parameters = model->parameters();
    const auto gradients = torch::autograd::grad({loss_of(model, x)}, parameters);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      torch::Tensor parameter = parameters[i];
      parameter.mutable_grad() = gradients[i].clone();
    }
  };
  for (int step = 0; step < 3; ++step) {
    set(pair.ours, inputs(step, rank(), rank() + 1));
    optimizer.step();
    set(pair.whole, inputs(step, 0, size()));
    whole.step();
  }
  CHECK(pair.gap() < 1e-5);
  pair.ours->weight.set_requires_grad(false);
  for (auto& parameter : pair.ours->parameters()) parameter.mutable_grad().reset();
  loss_of(pair.ours, inputs(0, rank(), rank() + 1)).backward();
  pair.ours->weight.mutable_grad() = torch::ones_like(pair.ours->weight.detach());
  const Status status = outcome_of([&] { optimizer.step(); });
  CHECK(contains(status.message(), "'group0.parameter0' was set after"));
  optimizer.abandon_step();
}

namespace {

/// Passes its input on; the backward pass throws if it is told to.
struct Fails : torch::autograd::Function<Fails> {
  static bool fails;
  static torch::Tensor forward(torch::autograd::AutogradContext* /*context*/,
                               const torch::Tensor& x) {
    return x.clone();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* /*context*/,
                                                 torch::autograd::variable_list gradients) {
    if (fails) throw std::runtime_error("out of memory");
    return gradients;
  }
};
bool Fails::fails = false;

}  // namespace

TEST_CASE("torch: a backward pass that throws halfway gives its step up") {
  for (const bool by_module : {false, true}) {
    torch::manual_seed(3);
    torch::nn::Linear body(3, 3);
    torch::nn::Linear head(3, 2);
    std::vector<torch::Tensor> parameters = body->parameters();
    for (const auto& parameter : head->parameters()) parameters.push_back(parameter);
    torch::optim::SGD sgd(parameters, 0.1);
    DistributedOptimizer optimizer(sgd);
    const auto train = [&](int step) {
      if (by_module) {
        body->zero_grad();
        head->zero_grad();
      } else {
        optimizer.zero_grad();
      }
      const auto x = inputs(step, rank(), rank() + 1);
      head->forward(Fails::apply(body->forward(x))).pow(2).mean().backward();
      optimizer.step();
    };
    const torch::Tensor start = head->weight.detach().clone();
    train(0);
    Fails::fails = true;
    CHECK_THROWS(train(1));
    Fails::fails = false;
    for (int step = 2; step < 5; ++step) train(step);
    CHECK(optimizer.parameters_identical());
    CHECK_FALSE(torch::equal(start, head->weight.detach()));
  }
}

TEST_CASE("torch: what cannot be reduced is refused with the name and the way out") {
  torch::nn::Embedding embedding(torch::nn::EmbeddingOptions(10, 3).sparse(true));
  torch::optim::SGD sgd(embedding->parameters(), 0.1);
  OptimizerOptions options;
  options.parameter_names = parameter_names(*embedding);
  DistributedOptimizer optimizer(sgd, options);
  std::string text;
  try {
    embedding->forward(torch::ones({2}, torch::kInt64)).sum().backward();
    optimizer.step();
  } catch (const std::exception& error) {
    text = error.what();
  }
  CHECK(contains(text, "sparse(false)"));
}

TEST_CASE("torch: parameters are named as the module names them") {
  if (size() == 1) return;
  torch::nn::Sequential model(torch::nn::Linear(3, rank() == 1 ? 4 : 5));
  torch::optim::SGD sgd(model->parameters(), 0.1);
  OptimizerOptions options;
  options.parameter_names = parameter_names(*model);
  const Status status = outcome_of([&] { DistributedOptimizer optimizer(sgd, options); });
  CHECK(contains(status.message(), "'0.weight'"));
}

TEST_CASE("torch: a model that is moved to another type after wrapping is refused by name") {
  torch::nn::Linear model(3, 2);
  torch::optim::SGD sgd(model->parameters(), 0.1);
  DistributedOptimizer optimizer(sgd);
  model->to(torch::kFloat64);
  const Status status = outcome_of([&] { optimizer.step(); });
  CHECK(contains(status.message(), "'group0.parameter0'"));
}

namespace {

/// An optimizer of a program's own, without get_lr().
struct OwnOptions : torch::optim::OptimizerCloneableOptions<OwnOptions> {};
struct Own : torch::optim::Optimizer {
  explicit Own(std::vector<torch::Tensor> parameters)
      : Optimizer(std::move(parameters), std::make_unique<OwnOptions>()) {}
  torch::Tensor step(LossClosure /*closure*/ = nullptr) override {
    const torch::NoGradGuard no_grad;
    for (auto& parameter : param_groups()[0].params()) {
      if (parameter.grad().defined()) parameter.sub_(parameter.grad());
    }
    return {};
  }
};

template <typename Optimizer, typename... Arguments>
void check_handover(Arguments... arguments) {
  torch::manual_seed(1);
  torch::nn::Linear model(3, 2);
  Optimizer own(model->parameters(), arguments...);
  OptimizerOptions options;
  DistributedOptimizer<Optimizer> optimizer(own, options);
  {
    const auto guard = optimizer.join();
    for (int step = 0; step < 2 + 2 * rank(); ++step) {
      optimizer.zero_grad();
      loss_of(model, inputs(step, rank(), rank() + 1)).backward();
      optimizer.step();
    }
  }
  for (int step = 0; step < 3; ++step) {
    optimizer.zero_grad();
    loss_of(model, inputs(step, rank(), rank() + 1)).backward();
    optimizer.step();
    CHECK(optimizer.parameters_identical());
    CHECK(optimizer.state_identical());
  }
}

}  // namespace

TEST_CASE("torch: join() hands over the state of LibTorch's optimizers") {
  check_handover<torch::optim::SGD>(torch::optim::SGDOptions(0.1).momentum(0.9));
  check_handover<torch::optim::Adam>(torch::optim::AdamOptions(0.01).amsgrad(true));
  check_handover<torch::optim::AdamW>(torch::optim::AdamWOptions(0.01));
  check_handover<torch::optim::RMSprop>(torch::optim::RMSpropOptions(0.01).momentum(0.9));
  check_handover<torch::optim::Adagrad>(torch::optim::AdagradOptions(0.01));
}

TEST_CASE("torch: an optimizer of a program's own works, and is not divided without its word") {
  Pair pair;
  Own own(pair.ours->parameters());
  DistributedOptimizer optimizer(own);
  loss_of(pair.ours, inputs(0, rank(), rank() + 1)).backward();
  optimizer.step();
  CHECK(optimizer.parameters_identical());
  Own other(pair.whole->parameters());
  OptimizerOptions options;
  options.name = "divided";
  options.sharding = Sharding::optimizer_state;
  CHECK(contains(outcome_of([&] { DistributedOptimizer divided(other, options); }).message(),
                 "not known to update every element"));
}

TEST_CASE("torch: divided state leaves frozen and unused parameters alone") {
  torch::manual_seed(2);
  torch::nn::Linear used(3, 2);
  torch::nn::Linear unused(3, 2);
  std::vector<torch::Tensor> parameters = used->parameters();
  for (const auto& parameter : unused->parameters()) parameters.push_back(parameter);
  used->bias.set_requires_grad(false);
  torch::optim::AdamW adamw(parameters, torch::optim::AdamWOptions(0.1).weight_decay(0.1));
  OptimizerOptions options;
  options.sharding = Sharding::optimizer_state;
  const torch::Tensor bias = used->bias.detach().clone();
  const torch::Tensor weight = used->weight.detach().clone();
  {
    DistributedOptimizer optimizer(adamw, options);
    const torch::Tensor other = unused->weight.detach().clone();
    for (int step = 0; step < 3; ++step) {
      optimizer.zero_grad();
      loss_of(used, inputs(step, rank(), rank() + 1)).backward();
      optimizer.step();
    }
    CHECK(torch::equal(other, unused->weight.detach()));
    CHECK(torch::equal(bias, used->bias.detach()));
    CHECK_FALSE(torch::equal(weight, used->weight.detach()));
  }
}

TEST_CASE("torch: buffers of all types are broadcast") {
  struct Module : torch::nn::Module {
    Module() {
      const auto one = torch::full({3}, rank() + 1);
      register_buffer("mask", torch::full({3}, rank() == 0, torch::kBool));
      register_buffer("complex", torch::complex(one.to(torch::kFloat32), one.to(torch::kFloat32)));
      register_buffer("half", one.to(torch::kFloat16));
      register_buffer("count", one.to(torch::kInt16));
      register_buffer("strided", torch::full({4, 4}, rank() + 1.0).slice(1, 0, 4, 2));
    }
  };
  const auto module = std::make_shared<Module>();
  broadcast_buffers(*module);
  const auto buffers = module->named_buffers();
  CHECK(buffers["mask"][1].item<bool>());
  CHECK(torch::real(buffers["complex"])[2].item<float>() == 1.F);
  CHECK(buffers["half"][0].item<float>() == 1.F);
  CHECK(buffers["count"][0].item<int>() == 1);
  CHECK(buffers["strided"].sum().item<double>() == 8.0);
}
