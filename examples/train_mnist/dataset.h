// SPDX-License-Identifier: Apache-2.0
//
// Dataset: images and labels in the IDX format of MNIST, plain or compressed with gzip.
//
//   const Dataset data = load_dataset("data", 0);
//   fill(batch, data.test, indices);
//
// Layout of an IDX file, numbers big-endian, 32 bits each:
//
//   images  | 0x00000803 | count | rows = 28 | columns = 28 | count * 784 bytes |
//   labels  | 0x00000801 | count |                            count bytes       |
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "network.h"
#include "stop.h"

namespace train_mnist {

struct Samples {
  std::vector<std::uint8_t> pixels;  ///< kImagePixels per image, row-major, 0 background
  std::vector<std::uint8_t> labels;  ///< 0 to kClasses - 1

  std::int64_t count() const { return static_cast<std::int64_t>(labels.size()); }
};

struct Dataset {
  std::string name;
  Samples train;
  Samples test;

  /// Numbers that let ranks notice that they read different data.
  std::vector<NamedValue> fingerprint() const;
};

/// directory    empty: data/, or else where Debian's package dataset-fashion-mnist puts its files
/// train_limit  keep only this many training images; 0: all
/// Throws Stop with kExitUsage and a message that names the file.
Dataset load_dataset(const std::string& directory, std::int64_t train_limit);

/// Overwrites the batch with the samples at `indices`, their pixels as floats of mean about 0 and
/// variance about 1.
void fill(Batch& batch, const Samples& samples, std::span<const std::int64_t> indices);

}  // namespace train_mnist
