// SPDX-License-Identifier: Apache-2.0
//
// Network: the LeNet-style classifier that is trained, as the training loop sees it.
//
//   auto network = make_network({.device = Device::cpu, .hidden = 128, .seed = 1});
//   Outcome outcome = network->forward(batch);
//   network->backward([](std::size_t parameter) { /* this gradient is complete */ });
//
// It computes one rank's batch and knows nothing about other ranks. Each device supplies one
// subclass; names, shapes, starting values and the rest of the program are shared.
#pragma once

#include <ringleader/ringleader.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace train_mnist {

constexpr std::int64_t kImageSide = 28;
constexpr std::int64_t kImagePixels = kImageSide * kImageSide;
constexpr std::int64_t kClasses = 10;

/// Where the network is computed.
enum class Device { cpu, cuda };
const char* name_of(Device device);

struct NetworkOptions {
  Device device = Device::cpu;
  int hidden = 128;  ///< units of the first dense layer
  std::uint32_t seed = 1;

  /// Another number of threads adds up in another order and changes the bits, so the number of
  /// threads must not depend on the number of ranks.
  bool one_thread = false;
};

/// One learned tensor, in plain row-major layout (convolutions: output channel, input channel, row,
/// column; dense layers: output, input). The memory never moves.
struct Parameter {
  std::string name;
  ringleader::TensorView value;
  ringleader::TensorView gradient;  ///< same shape as the value
};

struct ParameterSpec {
  std::string name;
  ringleader::Shape shape;
};

/// Names and shapes of the network's parameters, in the order of the forward pass. The spatial
/// sizes are 28, 24 (5x5), 12 (pooled), 8 (5x5), 4 (pooled).
std::vector<ParameterSpec> architecture(int hidden);

/// Starting values of every parameter; they depend on the shapes and the seed alone: uniform within
/// +-1 / sqrt(inputs of the layer). They are smaller than He et al.'s, so that the first steps are
/// not chaotic: runs that differ only by rounding stay together.
std::vector<std::vector<float>> initial_values(const std::vector<ParameterSpec>& specs,
                                               std::uint32_t seed);

/// Images in host memory, one after another, and their classes.
struct Batch {
  std::vector<float> pixels;  ///< kImagePixels per image
  std::vector<std::uint8_t> labels;
};

struct Outcome {
  double loss = 0;           ///< cross entropy, mean over the batch
  std::int64_t correct = 0;  ///< images whose class was predicted
};

class Network {
 public:
  virtual ~Network() = default;

  virtual const std::vector<Parameter>& parameters() const = 0;

  /// Computes the loss of a batch of any size of at least 1.
  virtual Outcome forward(const Batch& batch) = 0;

  /// Overwrites the gradients with those of the last forward()'s mean loss, last layer first.
  /// `ready` gets each parameter's index once, as soon as its gradient is complete.
  virtual void backward(const std::function<void(std::size_t)>& ready) = 0;

  /// A copy of all parameters in host memory, one after another.
  virtual std::vector<float> snapshot() const = 0;
};

/// Errors: std::exception of the compute library.
std::unique_ptr<Network> make_network(const NetworkOptions& options);

}  // namespace train_mnist
