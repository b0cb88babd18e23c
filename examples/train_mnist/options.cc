// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <CLI/CLI.hpp>
#include <algorithm>

namespace train_mnist {
namespace {

constexpr int kEpochsMax = 100000;
constexpr int kBatchSizeMax = 65536;
constexpr int kHiddenMax = 65536;
constexpr double kLearningRateMax = 1000;
const std::vector<std::string> kDevices = {"auto", "cpu", "cuda"};

/// Written out because CLI::Range accepts "nan" and describes its bounds badly.
CLI::Validator between(double low, double high) {
  return {[=](const std::string& text) {
            double value = 0;
            const bool is_number = CLI::detail::lexical_cast(text, value);
            if (is_number && value >= low && value <= high) return std::string();
            return CLI::detail::to_string(text) + " is not a number from " +
                   CLI::detail::to_string(low) + " to " + CLI::detail::to_string(high);
          },
          ""};
}

void add_options(CLI::App& app, Options& options) {
  app.add_option("--data", options.data,
                 "directory with the IDX files [data, then Debian's dataset-fashion-mnist]");
  app.add_option("--epochs", options.epochs, "passes over the training images [3]")
      ->check(between(1, kEpochsMax));
  app.add_option("--batch-size", options.batch_size, "images per rank and step [32]")
      ->check(between(1, kBatchSizeMax));
  app.add_option("--lr", options.learning_rate, "largest learning rate [0.03]")
      ->check(between(0, kLearningRateMax));
  app.add_option("--momentum", options.momentum, "momentum, 0 to 1 [0.9]")->check(between(0, 1));
  app.add_option("--seed", options.seed, "of the first weights and the order of the images [1]");
  app.add_option("--target-accuracy", options.target_accuracy,
                 "stop after the epoch that reaches it, 0 to 1; exit with 1 if none does")
      ->check(between(0, 1));
  app.add_option("--json", options.json, "write the results to this file");
  app.add_option("--train-limit", options.train_limit, "use only the first N images; 0: all [0]")
      ->check(between(0, 1e9));
  app.add_flag_callback(
      "--no-progress", [&options] { options.progress = false; }, "no progress bar on a terminal");
  // Each name so far stands for the default: there is nothing to store yet.
  app.add_option_function<std::string>(
         "--strategy", [](const std::string&) {}, "how the ranks cooperate: gradients")
      ->check(CLI::IsMember({"gradients"}).description(""));
  app.add_option(
         "--device", options.device,
         "where to compute: cpu, cuda, or auto: cuda if each rank has a GPU of its own [auto]")
      ->check(CLI::IsMember(kDevices).description(""));
  app.add_option("--virtual-workers", options.optimizer.virtual_workers,
                 "the same bits on any number of ranks: a power of two that it divides; the batch "
                 "size is then per virtual worker; 0: off [0]")
      ->check(between(0, kBatchSizeMax));
  app.add_option("--hidden", options.hidden,
                 "units of the first dense layer; not checked beforehand, so that different "
                 "values show what the library says about different networks [128]")
      ->check(between(1, kHiddenMax));
}

}  // namespace

std::vector<NamedValue> Options::agreed() const {
  return {{"--epochs", static_cast<double>(epochs)},
          {"--batch-size", static_cast<double>(batch_size)},
          {"--lr", learning_rate},
          {"--momentum", momentum},
          {"--seed", static_cast<double>(seed)},
          {"--target-accuracy", target_accuracy.value_or(-1)},
          {"--train-limit", static_cast<double>(train_limit)},
          {"--strategy", static_cast<double>(optimizer.strategy)},
          {"--virtual-workers", static_cast<double>(optimizer.virtual_workers)},
          {"--device", static_cast<double>(std::find(kDevices.begin(), kDevices.end(), device) -
                                           kDevices.begin())}};
}

Options parse_options(int argc, char** argv) {
  Options options;
  CLI::App app("Trains a small convolutional network on all ranks that mpirun starts.",
               "train_mnist");
  add_options(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    throw Stop(kExitSuccess, app.help());
  } catch (const CLI::ParseError& error) {
    throw Stop(kExitUsage, error.what());
  }
  return options;
}

}  // namespace train_mnist
