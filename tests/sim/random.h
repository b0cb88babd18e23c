// SPDX-License-Identifier: Apache-2.0
//
// Random numbers that are the same for a seed on every machine, or that follow given bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace ringleader::sim {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15U + 1) {}

  /// Each choice takes a byte (those of 256 and more values, two or more); zeros when they are used
  /// up, so that small changes of the bytes make small changes of the choices.
  Random(const std::uint8_t* data, std::size_t size) : state_(0), data_(data), left_(size) {}

  std::uint64_t next() {  // SplitMix64
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }

  /// In [0, limit).
  std::uint64_t below(std::uint64_t limit) {
    if (data_ == nullptr) return next() % limit;
    std::uint64_t value = 0;
    for (std::uint64_t rest = limit - 1; rest > 0; rest >>= 8) value = (value << 8) | byte();
    return value % limit;
  }

  /// In [low, high].
  int between(int low, int high) {
    return low + static_cast<int>(below(static_cast<std::uint64_t>(high - low) + 1));
  }

  bool chance(int percent) { return between(1, 100) > 100 - percent; }

  template <typename T>
  void shuffle(std::vector<T>& values) {
    for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

 private:
  std::uint64_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *data_++;
  }

  std::uint64_t state_;
  const std::uint8_t* data_ = nullptr;
  std::size_t left_ = 0;
};

}  // namespace ringleader::sim
