// SPDX-License-Identifier: Apache-2.0
//
// train_mnist: trains a small convolutional network on MNIST or Fashion-MNIST.
//
//   $ mpirun -n 2 build/release/examples/train_mnist --epochs 3
//   2 ranks on cpu, Fashion-MNIST, 60000 training and 10000 test images
//   epoch 1/3: loss 0.6564, test accuracy 86.13 %, 19893 images/s, 3.2 s
//   ...
//   parameters identical on 2 ranks: hash 0123456789abcdef
//
// The part that shows the use of ringleader is train() in trainer.cc.
#include <ringleader/ringleader.h>

#include <cstdio>
#include <exception>
#include <string>

#include "dataset.h"
#include "device.h"
#include "options.h"
#include "report.h"
#include "stop.h"
#include "trainer.h"

namespace train_mnist {
namespace {

/// Says on rank 0 why a finished run is not a success.
int exit_code_of(const Options& options, const RunResult& result) {
  const bool speaks = ringleader::rank() == 0;
  if (!result.parameters_identical) {
    if (speaks) std::fputs("train_mnist: the ranks' parameters differ at the end\n", stderr);
    return kExitFailure;
  }
  const double accuracy = result.epochs.back().test_accuracy;
  const double target = options.target_accuracy.value_or(0);
  if (accuracy >= target) return kExitSuccess;
  if (speaks) {
    std::fprintf(stderr, "train_mnist: test accuracy %.4f is below --target-accuracy %g\n",
                 accuracy, target);
  }
  return kExitFailure;
}

int run(int argc, char** argv) {
  Options options;
  run_on_all_ranks("startup/options", [&] { options = parse_options(argc, argv); });
  require_equal("startup/equal_options", options.agreed());

  const bool is_first = ringleader::rank() == 0;
  Dataset data;
  run_on_all_ranks("startup/data", [&] {
    if (is_first && !options.json.empty()) require_writable(options.json);
    data = load_dataset(options.data, options.train_limit);
    if (data.train.count() < ringleader::size()) {
      throw Stop(kExitUsage, std::to_string(ringleader::size()) + " ranks cannot share " +
                                 std::to_string(data.train.count()) + " training images");
    }
  });
  require_equal("startup/equal_data", data.fingerprint());

  const Device device = choose_device(options.device_wanted());
  Report report({.ranks = ringleader::size(),
                 .device = name_of(device),
                 .dataset = data.name,
                 .train_count = data.train.count(),
                 .test_count = data.test.count()},
                options.epochs, is_first, options.progress);
  report.begin();
  const RunResult result = train(options, device, data, report);
  report.end(result);
  report.write_json(options.json, result);
  return exit_code_of(options, result);
}

/// The exit code of run(), whatever it throws. Prints the error on the ranks that must report it.
int run_and_report_errors(int argc, char** argv) {
  const int rank = ringleader::rank();
  try {
    return run(argc, argv);
  } catch (const Stop& stop) {
    const bool is_help = stop.exit_code() == kExitSuccess;
    if (is_help) std::fputs(stop.what(), stdout);
    if (!is_help && *stop.what() != '\0') std::fprintf(stderr, "train_mnist: %s\n", stop.what());
    return stop.exit_code();
  } catch (const ringleader::Error& error) {
    // The ranks were started with different networks: all of them get the same error.
    if (error.code() == ringleader::Code::mismatch) {
      if (rank == 0) std::fprintf(stderr, "train_mnist: %s\n", error.what());
      return kExitUsage;
    }
    std::fprintf(stderr, "train_mnist: rank %d: %s\n", rank, error.what());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "train_mnist: rank %d: %s\n", rank, error.what());
  }
  return kExitFailure;
}

}  // namespace
}  // namespace train_mnist

int main(int argc, char** argv) {
  try {
    const ringleader::Session session;
    return train_mnist::run_and_report_errors(argc, argv);
  } catch (const ringleader::Error& error) {
    std::fprintf(stderr, "train_mnist: %s\n", error.what());
    return train_mnist::kExitFailure;
  }
}
