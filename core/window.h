// SPDX-License-Identifier: Apache-2.0
//
// Window: values with ascending numbers. The oldest are usually erased first, so the numbers that
// remain are close together. Everything but for_each() and clear() takes constant time, erase() on
// average, and allocates nothing per value.
//
//   Window<Item> items;
//   const std::uint64_t number = items.push(item);
//   Item* found = items.find(number);
//   items.erase(number);
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory_resource>
#include <optional>
#include <utility>

namespace ringleader {

/// Threading: one thread at a time.
template <typename T>
class Window {
 public:
  /// `first` is the number of the first value.
  explicit Window(std::uint64_t first = 1) : first_(first) {}

  std::uint64_t next() const { return first_ + values_.size(); }

  /// Appends a value under the number next() and returns that number. Other values do not move.
  std::uint64_t push(T value) {
    values_.emplace_back(std::move(value));
    ++size_;
    return next() - 1;
  }

  /// Null if the value was never there or has been erased. Valid until the value is erased.
  T* find(std::uint64_t number) {
    if (number < first_ || number >= next()) return nullptr;
    auto& value = values_[static_cast<std::size_t>(number - first_)];
    return value ? &*value : nullptr;
  }

  void erase(std::uint64_t number) {
    if (find(number) == nullptr) return;
    values_[static_cast<std::size_t>(number - first_)].reset();
    --size_;
    for (; !values_.empty() && !values_.front(); ++first_) values_.pop_front();
  }

  /// Erases all values; numbering continues.
  void clear() {
    first_ = next();
    values_.clear();
    size_ = 0;
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  /// Calls visit(number, value) in ascending order.
  template <typename Visit>
  void for_each(Visit visit) {
    std::uint64_t number = first_;
    for (auto& value : values_) {
      if (value) visit(number, *value);
      ++number;
    }
  }
  template <typename Visit>
  void for_each(Visit visit) const {
    std::uint64_t number = first_;
    for (const auto& value : values_) {
      if (value) visit(number, *value);
      ++number;
    }
  }

 private:
  std::uint64_t first_;
  std::size_t size_ = 0;
  std::pmr::unsynchronized_pool_resource memory_;  ///< for the deque's blocks, which come and go
  std::pmr::deque<std::optional<T>> values_{&memory_};
};

}  // namespace ringleader
