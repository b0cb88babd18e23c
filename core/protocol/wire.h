// SPDX-License-Identifier: Apache-2.0
//
// Writer and Reader: the byte encoding of control messages.
//
//   unsigned  7 bits per byte, least significant first, high bit set on all but the last byte
//   signed    zigzag, then as unsigned
//   f64       8 bytes, little endian
//   string    unsigned length, then the bytes
//   seal      8 bytes at the end: a checksum of all before it, so that nobody acts on damaged bytes
//
// Reader never reads past the end and never allocates more than the input could fill: a length is
// checked against the bytes that remain. After the first error it returns zeros and ok() is false,
// so that a decoder checks once, at the end.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ringleader::protocol {

using Bytes = std::vector<std::byte>;

/// FNV-1a over 8-byte words, the last one padded with zeros, and the length. It detects accidental
/// damage; it does not protect against intent.
inline std::uint64_t checksum(std::span<const std::byte> bytes) {
  constexpr std::uint64_t kPrime = 0x100000001b3;
  std::uint64_t hash = 0xcbf29ce484222325 ^ bytes.size();
  while (!bytes.empty()) {
    std::uint64_t word = 0;
    const std::size_t size = bytes.size() < 8 ? bytes.size() : 8;
    for (std::size_t i = 0; i < size; ++i) {
      word |= static_cast<std::uint64_t>(bytes[i]) << (8 * i);
    }
    hash = (hash ^ word) * kPrime;
    hash ^= hash >> 32;
    bytes = bytes.subspan(size);
  }
  return hash;
}

class Writer {
 public:
  Writer() { bytes_.reserve(64); }  // most messages fit

  void u64(std::uint64_t value) {
    while (value >= 0x80) {
      bytes_.push_back(static_cast<std::byte>(value | 0x80));
      value >>= 7;
    }
    bytes_.push_back(static_cast<std::byte>(value));
  }

  void i64(std::int64_t value) {
    u64((static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
  }

  void word(std::uint64_t value) {
    for (int shift = 0; shift < 64; shift += 8) {
      bytes_.push_back(static_cast<std::byte>(value >> shift));
    }
  }

  void f64(double value) { word(std::bit_cast<std::uint64_t>(value)); }
  void boolean(bool value) { u64(value ? 1 : 0); }

  void string(std::string_view text) {
    u64(text.size());
    const auto* first = reinterpret_cast<const std::byte*>(text.data());
    bytes_.insert(bytes_.end(), first, first + text.size());
  }

  void seal() { word(checksum(bytes_)); }

  Bytes take() { return std::move(bytes_); }
  std::size_t size() const { return bytes_.size(); }

 private:
  Bytes bytes_;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::uint64_t u64() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (position_ >= bytes_.size()) return fail();
      const auto byte = static_cast<std::uint64_t>(bytes_[position_++]);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return fail();
  }

  std::int64_t i64() {
    const std::uint64_t value = u64();
    return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
  }

  std::uint64_t word() {
    if (bytes_.size() - position_ < 8) return fail();
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 8) {
      value |= static_cast<std::uint64_t>(bytes_[position_++]) << shift;
    }
    return value;
  }

  double f64() { return std::bit_cast<double>(word()); }
  bool boolean() { return bounded(2) == 1; }

  /// An unsigned number below `limit`.
  std::uint64_t bounded(std::uint64_t limit) {
    const std::uint64_t value = u64();
    return value < limit ? value : fail();
  }

  std::uint32_t u32() { return static_cast<std::uint32_t>(bounded(std::uint64_t{1} << 32)); }

  /// The length of a sequence whose elements take at least one byte each.
  std::size_t length() {
    const std::uint64_t value = u64();
    return value <= bytes_.size() - position_ ? static_cast<std::size_t>(value)
                                              : static_cast<std::size_t>(fail());
  }

  std::string string() {
    const std::size_t size = length();
    const auto* first = reinterpret_cast<const char*>(bytes_.data() + position_);
    position_ += size;
    return std::string(first, size);
  }

  /// Removes the seal from the end; false if it does not match the rest.
  bool unseal() {
    if (bytes_.size() < 8) return false;
    Reader seal(bytes_.last(8));
    bytes_ = bytes_.first(bytes_.size() - 8);
    return seal.word() == checksum(bytes_);
  }

  bool ok() const { return ok_; }
  bool at_end() const { return position_ == bytes_.size(); }

 private:
  std::uint64_t fail() {
    ok_ = false;
    position_ = bytes_.size();
    return 0;
  }

  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
  bool ok_ = true;
};

}  // namespace ringleader::protocol
