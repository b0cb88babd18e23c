// SPDX-License-Identifier: Apache-2.0
#include "mnist_example.h"

#include <ringleader/ringleader.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "stop.h"

namespace example {

Start start(int argc, char** argv, const std::string& program) {
  Options options;
  CLI::App app("Trains on MNIST or Fashion-MNIST with all ranks that mpirun starts.", program);
  std::string folder;
  app.add_option("--data", folder, "directory with the IDX files");
  app.add_option("--epochs", options.epochs, "passes over the training images")
      ->check(CLI::Range(0, 1000));
  app.add_option("--batch-size", options.batch_size, "images per step of a rank or virtual worker")
      ->check(CLI::Range(1, 65536));
  app.add_option("--train-limit", options.train_limit, "training images; 0: all")
      ->check(CLI::Range(0, 1000000));
  app.add_option("--virtual-workers", options.virtual_workers,
                 "of programs that have them: a power of two")
      ->check(CLI::Range(1, 1024));
  try {
    app.parse(argc, argv);
    return {options, train_mnist::load_dataset(folder, options.train_limit)};
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error));
  } catch (const train_mnist::Stop& stop) {
    std::fprintf(stderr, "%s: %s\n", program.c_str(), stop.what());
    std::exit(stop.exit_code());
  }
}

std::vector<std::int64_t> in_order(std::int64_t count) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

train_mnist::Batch batch_of(const train_mnist::Samples& samples,
                            const std::vector<std::int64_t>& order, std::int64_t step,
                            std::int64_t count) {
  const auto first = static_cast<std::size_t>(step * count);
  const std::size_t length = std::min(static_cast<std::size_t>(count), order.size() - first);
  train_mnist::Batch batch;
  fill(batch, samples, std::span(order).subspan(first, length));
  return batch;
}

std::int64_t steps_of(const std::vector<std::int64_t>& order, std::int64_t count) {
  return (static_cast<std::int64_t>(order.size()) + count - 1) / count;
}

int finish(double loss, std::int64_t correct, std::int64_t tested,
           const std::vector<float>& parameters) {
  ringleader::init();  // does nothing if the program has already called it
  ringleader::allreduce("example/loss", ringleader::TensorView(&loss, {1}));
  const train_mnist::HashComparison hashes =
      train_mnist::compare_hashes("example/parameters", parameters);
  if (ringleader::rank() == 0) {
    std::printf("loss %.5f, test accuracy %.2f %%\n", loss,
                100.0 * static_cast<double>(correct) / static_cast<double>(tested));
    std::printf("parameters %s on %d rank(s): hash %016llx\n",
                hashes.rank_different < 0 ? "identical" : "DIFFERENT", ringleader::size(),
                static_cast<unsigned long long>(hashes.hash));
  }
  return hashes.rank_different < 0 ? train_mnist::kExitSuccess : train_mnist::kExitFailure;
}

}  // namespace example
