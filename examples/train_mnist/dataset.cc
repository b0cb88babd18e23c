// SPDX-License-Identifier: Apache-2.0
#include "dataset.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>

namespace train_mnist {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDefaultDirectory = "data";
constexpr const char* kPackageDirectory = "/usr/share/datasets/fashion-mnist";

constexpr std::uint32_t kImagesMagic = 0x803;  // unsigned bytes, 3 dimensions
constexpr std::uint32_t kLabelsMagic = 0x801;  // unsigned bytes, 1 dimension

/// Far above any data set of this format (EMNIST has 814,255); keeps a damaged count from
/// exhausting memory.
constexpr std::uint32_t kCountMax = 4'000'000;

/// Between the means and standard deviations of MNIST (0.13, 0.31) and Fashion-MNIST (0.29, 0.35).
constexpr float kMean = 0.2F;
constexpr float kDeviation = 0.33F;

[[noreturn]] void fail(const fs::path& file, const std::string& problem) {
  throw Stop(kExitUsage, file.string() + ": " + problem);
}

struct GzClose {
  void operator()(gzFile file) const { gzclose(file); }
};

/// Reads a file front to back; zlib passes uncompressed files through.
class Reader {
 public:
  explicit Reader(const fs::path& path) : path_(path), file_(gzopen(path.c_str(), "rb")) {
    if (!file_) fail(path_, "cannot be opened");
    gzbuffer(file_.get(), 1U << 18);
  }

  void read(std::span<std::uint8_t> bytes) {
    if (available(bytes) < bytes.size()) fail(path_, "is truncated");
  }

  std::uint32_t read_number() {
    std::array<std::uint8_t, 4> bytes;
    read(bytes);
    return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
           std::uint32_t{bytes[2]} << 8 | std::uint32_t{bytes[3]};
  }

  void expect_number(const std::string& what, std::uint32_t expected) {
    const std::uint32_t found = read_number();
    if (found == expected) return;
    fail(path_, what + " is " + std::to_string(found) + ", expected " + std::to_string(expected));
  }

  std::uint32_t read_count() {
    const std::uint32_t count = read_number();
    if (count >= 1 && count <= kCountMax) return count;
    fail(path_, "the number of items, " + std::to_string(count) + ", is not plausible");
  }

  void expect_end() {
    std::array<std::uint8_t, 1> byte;
    if (available(byte) != 0) fail(path_, "has more bytes than its header says");
  }

  const fs::path& path() const { return path_; }

 private:
  /// The number of bytes read, which is smaller at the end of the file.
  std::size_t available(std::span<std::uint8_t> bytes) {
    constexpr std::size_t kPieceMax = 1U << 30;  // gzread takes 32 bits and returns 31
    std::size_t total = 0;
    while (total < bytes.size()) {
      const std::size_t piece = std::min(bytes.size() - total, kPieceMax);
      const int count = gzread(file_.get(), bytes.data() + total, static_cast<unsigned>(piece));
      if (count < 0) {
        int code = Z_OK;
        gzerror(file_.get(), &code);
        fail(path_, code == Z_BUF_ERROR ? "is truncated"
                    : code == Z_ERRNO   ? "cannot be read"
                                        : "is damaged");
      }
      if (count == 0) break;
      total += static_cast<std::size_t>(count);
    }
    return total;
  }

  fs::path path_;
  std::unique_ptr<std::remove_pointer_t<gzFile>, GzClose> file_;
};

/// The plain file if it exists, otherwise the compressed one.
fs::path find_file(const fs::path& directory, const std::string& name) {
  std::error_code ignored;
  for (const std::string& candidate : {name, name + ".gz"}) {
    if (fs::is_regular_file(directory / candidate, ignored)) return directory / candidate;
  }
  fail(directory / name, "not found, neither plain nor as .gz");
}

Samples load_samples(const fs::path& directory, const std::string& prefix) {
  Samples samples;
  Reader images(find_file(directory, prefix + "-images-idx3-ubyte"));
  images.expect_number("the magic number", kImagesMagic);
  const std::uint32_t count = images.read_count();
  images.expect_number("the number of rows", static_cast<std::uint32_t>(kImageSide));
  images.expect_number("the number of columns", static_cast<std::uint32_t>(kImageSide));

  // Labels are read first, so that a wrong count is noticed before memory is allocated for images.
  Reader labels(find_file(directory, prefix + "-labels-idx1-ubyte"));
  labels.expect_number("the magic number", kLabelsMagic);
  const std::uint32_t label_count = labels.read_count();
  if (label_count != count) {
    fail(labels.path(), "has " + std::to_string(label_count) + " labels, but " +
                            images.path().string() + " has " + std::to_string(count) + " images");
  }
  samples.labels.resize(count);
  labels.read(samples.labels);
  labels.expect_end();
  const std::uint8_t highest = *std::max_element(samples.labels.begin(), samples.labels.end());
  if (highest >= kClasses) fail(labels.path(), "has the label " + std::to_string(highest));

  samples.pixels.resize(std::size_t{count} * kImagePixels);
  images.read(samples.pixels);
  images.expect_end();
  return samples;
}

fs::path find_directory(const std::string& directory) {
  std::error_code ignored;
  if (!directory.empty()) {
    if (!fs::is_directory(directory, ignored)) {
      throw Stop(kExitUsage, "--data: " + directory + " is not a directory");
    }
    return directory;
  }
  for (const char* candidate : {kDefaultDirectory, kPackageDirectory}) {
    if (fs::is_directory(candidate, ignored) && !fs::is_empty(candidate, ignored)) return candidate;
  }
  throw Stop(kExitUsage, std::string("--data: no data in ") + kDefaultDirectory + " or " +
                             kPackageDirectory + "; scripts/get_mnist.sh gets some");
}

std::string name_of_dataset(const fs::path& directory) {
  std::error_code ignored;
  if (fs::equivalent(directory, kDefaultDirectory, ignored)) return "MNIST";
  if (fs::equivalent(directory, kPackageDirectory, ignored)) return "Fashion-MNIST";
  return fs::canonical(directory).filename().string();
}

/// CRC-32 in place of the bytes themselves.
double checksum(const std::vector<std::uint8_t>& bytes) {
  return static_cast<double>(crc32_z(0, bytes.data(), bytes.size()));
}

}  // namespace

std::vector<NamedValue> Dataset::fingerprint() const {
  return {{"the number of training images", static_cast<double>(train.count())},
          {"the number of test images", static_cast<double>(test.count())},
          {"the checksum of the training labels", checksum(train.labels)},
          {"the checksum of the test labels", checksum(test.labels)}};
}

Dataset load_dataset(const std::string& directory, std::int64_t train_limit) {
  const fs::path path = find_directory(directory);
  Dataset data{name_of_dataset(path), load_samples(path, "train"), load_samples(path, "t10k")};
  if (train_limit > 0 && train_limit < data.train.count()) {
    data.train.labels.resize(static_cast<std::size_t>(train_limit));
    data.train.pixels.resize(static_cast<std::size_t>(train_limit * kImagePixels));
  }
  return data;
}

void fill(Batch& batch, const Samples& samples, std::span<const std::int64_t> indices) {
  batch.pixels.resize(indices.size() * kImagePixels);
  batch.labels.resize(indices.size());
  float* next = batch.pixels.data();
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const auto index = static_cast<std::size_t>(indices[i]);
    batch.labels[i] = samples.labels[index];
    const std::uint8_t* image = samples.pixels.data() + index * kImagePixels;
    for (std::int64_t pixel = 0; pixel < kImagePixels; ++pixel) {
      *next++ = (static_cast<float>(image[pixel]) / 255.0F - kMean) / kDeviation;
    }
  }
}

}  // namespace train_mnist
