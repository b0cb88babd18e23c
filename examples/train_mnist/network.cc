// SPDX-License-Identifier: Apache-2.0
#include "network.h"

#include <cmath>
#include <random>

#include "cuda_support.h"
#include "onednn_network.h"

namespace train_mnist {
namespace {

// Multiples of 8, the width of the blocked layouts that oneDNN uses on AVX2.
constexpr std::int64_t kChannels1 = 8;
constexpr std::int64_t kChannels2 = 16;
constexpr std::int64_t kPooledSide = 4;

}  // namespace

const char* name_of(Device device) {
  switch (device) {
    case Device::cpu:
      return "cpu";
    case Device::cuda:
      return "cuda";
  }
  return "unknown";
}

std::vector<ParameterSpec> architecture(int hidden) {
  const std::int64_t features = kChannels2 * kPooledSide * kPooledSide;
  return {{"conv1.weight", {kChannels1, 1, 5, 5}},
          {"conv1.bias", {kChannels1}},
          {"conv2.weight", {kChannels2, kChannels1, 5, 5}},
          {"conv2.bias", {kChannels2}},
          {"dense1.weight", {hidden, features}},
          {"dense1.bias", {hidden}},
          {"dense2.weight", {kClasses, hidden}},
          {"dense2.bias", {kClasses}}};
}

std::vector<std::vector<float>> initial_values(const std::vector<ParameterSpec>& specs,
                                               std::uint32_t seed) {
  // The engine's sequence is fixed by the C++ standard and the mapping is written out, so that the
  // values do not depend on the standard library; its distributions would.
  std::mt19937_64 engine(seed);
  std::vector<std::vector<float>> values;
  std::int64_t inputs = 1;
  for (const ParameterSpec& spec : specs) {
    std::vector<float>& value = values.emplace_back(ringleader::count_of(spec.shape), 0.0F);
    // A bias follows its weights and has the same number of inputs.
    if (spec.shape.size() > 1) inputs = ringleader::count_of(spec.shape) / spec.shape[0];
    const double limit = 1.0 / std::sqrt(static_cast<double>(inputs));
    for (float& element : value) {
      const double unit = static_cast<double>(engine() >> 11) * 0x1p-53;
      element = static_cast<float>(limit * (2.0 * unit - 1.0));
    }
  }
  return values;
}

std::unique_ptr<Network> make_network(const NetworkOptions& options) {
  switch (options.device) {
    case Device::cpu:
      return make_onednn_network(options);
    case Device::cuda:
      return make_cudnn_network(options);
  }
  return nullptr;
}

}  // namespace train_mnist
