// SPDX-License-Identifier: Apache-2.0
#include "trainer.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <span>

#include "sgd.h"

namespace train_mnist {
namespace {

using Clock = std::chrono::steady_clock;

/// Steps whose loss is recorded.
constexpr std::size_t kRecordedSteps = 100;

/// Images per forward pass of the evaluation: enough to be efficient, few enough to stay in cache.
constexpr std::int64_t kEvaluationBatch = 100;

/// Steps over which the learning rate grows from 0 (Goyal et al. 2017, "Accurate, Large Minibatch
/// SGD"). Without it the first steps amplify rounding, so that 2 ranks, and 1 rank with twice the
/// batch, part ways after a few dozen steps.
constexpr std::int64_t kWarmupSteps = 300;

/// Grows during the warmup, while it falls linearly from `peak` to 0 over the whole run.
double learning_rate_at(std::int64_t step, std::int64_t steps_total, double peak) {
  const double warmth = static_cast<double>(step + 1) / static_cast<double>(kWarmupSteps);
  const double rest = 1.0 - static_cast<double>(step) / static_cast<double>(steps_total);
  return peak * std::min(1.0, warmth) * rest;
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The fraction of the test images that are classified correctly. Each rank takes its own slice.
double evaluate(Network& network, const Samples& test) {
  const std::int64_t begin = test.count() * ringleader::rank() / ringleader::size();
  const std::int64_t end = test.count() * (ringleader::rank() + 1) / ringleader::size();
  std::vector<std::int64_t> indices(static_cast<std::size_t>(end - begin));
  std::iota(indices.begin(), indices.end(), begin);

  std::int64_t correct = 0;
  Batch batch;
  for (std::int64_t at = 0; at < end - begin; at += kEvaluationBatch) {
    const std::int64_t count = std::min(kEvaluationBatch, end - begin - at);
    fill(batch, test,
         std::span(indices).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count)));
    correct += network.forward(batch).correct;
  }
  ringleader::allreduce("test/correct", ringleader::TensorView(&correct, {1}),
                        ringleader::ReduceOp::sum);
  return static_cast<double>(correct) / static_cast<double>(test.count());
}

std::int64_t steps_of(std::int64_t images, std::int64_t batch_size) {
  return (images + batch_size - 1) / batch_size;
}

/// Adds up losses and images of this rank's epoch.
class EpochMeter {
 public:
  void add(double loss, std::size_t count) {
    loss_sum_ += loss * static_cast<double>(count);
    rank_images_done_ += static_cast<std::int64_t>(count);
  }

  /// Images of all ranks so far.
  std::int64_t images() const { return rank_images_done_ * ringleader::size(); }

  /// Collective: the loss of all ranks, and the accuracy, which the ranks measure together.
  EpochResult finish(Network& network, const Samples& test) {
    EpochResult result;
    result.images_per_second = static_cast<double>(images()) / seconds_since(start_);
    result.train_loss = loss_sum_ / static_cast<double>(rank_images_done_);
    ringleader::allreduce("train/loss", ringleader::TensorView(&result.train_loss, {1}));
    result.test_accuracy = evaluate(network, test);
    result.seconds = seconds_since(start_);
    return result;
  }

 private:
  std::int64_t rank_images_done_ = 0;
  double loss_sum_ = 0;
  Clock::time_point start_ = Clock::now();
};

/// Collective: summarizes the whole run. One reduction covers all recorded losses; the steps
/// themselves exchange nothing but gradients.
void summarize(const Network& network, RunResult& result) {
  const auto recorded = static_cast<std::int64_t>(result.steps_loss.size());
  ringleader::allreduce("train/steps_loss",
                        ringleader::TensorView(result.steps_loss.data(), {recorded}));
  const HashComparison hashes = compare_hashes("train/parameters", network.snapshot());
  result.parameters_identical = hashes.rank_different < 0;
  result.parameters_hash = hashes.hash;
}

/// The samples of one step.
std::span<const std::int64_t> slice(std::span<const std::int64_t> indices, std::int64_t step,
                                    std::int64_t batch_size) {
  const auto first = static_cast<std::size_t>(step * batch_size);
  return indices.subspan(first,
                         std::min(static_cast<std::size_t>(batch_size), indices.size() - first));
}

/// The samples of this rank, or of each of its virtual workers, one after another.
std::vector<ringleader::DistributedSampler> make_samplers(const Options& options,
                                                          std::int64_t images) {
  const int workers = options.optimizer.virtual_workers;
  ringleader::SamplerOptions sampler = {.seed = options.seed};
  if (workers == 0) return {ringleader::DistributedSampler(images, sampler)};
  std::vector<ringleader::DistributedSampler> samplers;
  sampler.size = workers;
  for (sampler.rank = 0; sampler.rank < workers; ++sampler.rank) {
    if (sampler.rank * ringleader::size() / workers != ringleader::rank()) continue;
    samplers.emplace_back(images, sampler);
  }
  return samplers;
}

}  // namespace

RunResult train(const Options& options, Device device, const Dataset& data, Report& report) {
  const auto network = make_network({.device = device,
                                     .hidden = options.hidden,
                                     .seed = options.seed,
                                     .one_thread = options.optimizer.virtual_workers > 0});
  Sgd sgd(network->parameters(),
          {.learning_rate = options.learning_rate, .momentum = options.momentum});

  // Line 1 of 3: from here on, step() uses the gradients of all ranks.
  ringleader::DistributedOptimizer optimizer(sgd, options.optimizer);

  const auto samplers = make_samplers(options, data.train.count());
  const std::int64_t steps = steps_of(samplers[0].count_per_rank(), options.batch_size);
  RunResult result;
  Batch batch;
  for (int epoch = 0; epoch < options.epochs; ++epoch) {
    std::vector<std::vector<std::int64_t>> indices;
    for (const auto& sampler : samplers) {
      indices.push_back(sampler.indices(static_cast<std::uint64_t>(epoch)));
    }
    EpochMeter meter;
    for (std::int64_t step = 0; step < steps; ++step) {
      double loss = 0;
      std::size_t images = 0;
      const auto compute = [&](std::size_t sampler) {
        fill(batch, data.train, slice(indices[sampler], step, options.batch_size));
        loss += network->forward(batch).loss / static_cast<double>(samplers.size());
        images += batch.labels.size();

        // Line 2 of 3, optional: each gradient travels while the layers before it are computed.
        network->backward([&](std::size_t parameter) { optimizer.ready(parameter); });
      };
      if (options.optimizer.virtual_workers == 0) {
        compute(0);
      } else {
        optimizer.virtual_workers(
            [&](int worker) { compute(static_cast<std::size_t>(worker) % samplers.size()); });
      }

      optimizer->set_learning_rate(
          learning_rate_at(epoch * steps + step, options.epochs * steps, options.learning_rate));
      // Line 3 of 3: where sgd.step() was.
      optimizer.step();

      meter.add(loss, images);
      if (result.steps_loss.size() < kRecordedSteps) {
        result.steps_loss.push_back(static_cast<float>(loss));
      }
      report.step(step + 1, steps, meter.images(), loss);
    }
    result.epochs.push_back(meter.finish(*network, data.test));
    report.epoch(result.epochs.back());
    const double accuracy = result.epochs.back().test_accuracy;
    if (options.target_accuracy && accuracy >= *options.target_accuracy) break;
  }
  summarize(*network, result);
  return result;
}

}  // namespace train_mnist
