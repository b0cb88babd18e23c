// SPDX-License-Identifier: Apache-2.0
//
// KeyIndex: maps keys to small numbers, under which the values are stored elsewhere. It is a hash
// table with linear probing that holds only the numbers, 4 bytes each, and asks its owner for the
// keys. Nobody iterates over it, so its order is invisible.
//
//   index.insert(key, number);
//   index.find(key, [&](std::uint32_t number) -> const Key& { return keys[number]; });
#pragma once

#include <ringleader/core/protocol/request.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace ringleader::protocol {

class KeyIndex {
 public:
  template <typename KeyOf>
  std::optional<std::uint32_t> find(const KeyView& key, KeyOf key_of) const {
    if (slots_.empty()) return std::nullopt;
    for (std::size_t at = hash(key) & mask();; at = (at + 1) & mask()) {
      if (slots_[at] == kEmpty) return std::nullopt;
      if (slots_[at] != kErased && key_of(slots_[at]) == key) return slots_[at];
    }
  }

  /// The key must not be in the table. `key_of` is needed to rehash the table when it grows.
  template <typename KeyOf>
  void insert(const KeyView& key, std::uint32_t number, KeyOf key_of) {
    if ((used_ + 1) * 4 > slots_.size() * 3) grow(key_of);
    place(key, number);
    ++size_;
  }

  template <typename KeyOf>
  void erase(const KeyView& key, KeyOf key_of) {
    if (slots_.empty()) return;
    for (std::size_t at = hash(key) & mask(); slots_[at] != kEmpty; at = (at + 1) & mask()) {
      if (slots_[at] == kErased || !(key_of(slots_[at]) == key)) continue;
      slots_[at] = kErased;
      --size_;
      return;
    }
  }

  std::size_t size() const { return size_; }
  void clear() { *this = KeyIndex(); }

 private:
  static constexpr std::uint32_t kEmpty = UINT32_MAX;
  static constexpr std::uint32_t kErased = UINT32_MAX - 1;

  static std::size_t hash(const KeyView& key) {  // FNV-1a
    std::uint64_t value = 0xcbf29ce484222325 ^ key.process_set;
    for (const char c : key.name) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return static_cast<std::size_t>(value ^ (value >> 32));
  }

  std::size_t mask() const { return slots_.size() - 1; }

  void place(const KeyView& key, std::uint32_t number) {
    std::size_t at = hash(key) & mask();
    while (slots_[at] != kEmpty && slots_[at] != kErased) at = (at + 1) & mask();
    if (slots_[at] == kEmpty) ++used_;
    slots_[at] = number;
  }

  template <typename KeyOf>
  void grow(KeyOf key_of) {
    std::size_t slots = 8;
    while (slots * 3 < (size_ + 1) * 4 + 3) slots *= 2;
    std::vector<std::uint32_t> old(slots, kEmpty);
    old.swap(slots_);
    used_ = 0;
    for (const std::uint32_t number : old) {
      if (number != kEmpty && number != kErased) place(key_of(number), number);
    }
  }

  std::vector<std::uint32_t> slots_;  ///< a power of 2 of them, or none
  std::size_t size_ = 0;
  std::size_t used_ = 0;  ///< slots that are not empty
};

}  // namespace ringleader::protocol
