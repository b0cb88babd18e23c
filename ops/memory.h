// SPDX-License-Identifier: Apache-2.0
//
// Memory that the ranks of a node share: tensors that live in it are reduced where they are,
// without being copied on the way.
//
//   std::vector<float, ringleader::SharedAllocator<float>> gradient(n);
//   auto* weights = static_cast<float*>(ringleader::allocate(bytes));
//
// It is ordinary memory for everything else. It may be asked for before init() and used after
// shutdown(). What is freed is given out again but stays with the process until it ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

namespace ringleader {

/// `bytes` bytes on a cache line's boundary. If there is no shared memory, or
/// RINGLEADER_ARENA_BYTES of it are in use, the memory is of the ordinary kind, and the log says so
/// once. Throws std::bad_alloc if there is no memory at all. Does not block. Any thread.
void* allocate(std::size_t bytes);

/// Takes back what allocate() gave; null is nothing. Any thread.
void free(void* memory) noexcept;

/// For containers of the standard library.
template <typename T>
class SharedAllocator {
 public:
  /// The element type.
  using value_type = T;

  SharedAllocator() = default;
  /// Any two are equal.
  template <typename U>
  SharedAllocator(const SharedAllocator<U>&) noexcept {}  // NOLINT(google-explicit-constructor)

  /// `count` elements. Errors: std::bad_alloc.
  T* allocate(std::size_t count) {
    if (count > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T))
      throw std::bad_array_new_length();
    return static_cast<T*>(ringleader::allocate(count * sizeof(T)));
  }
  /// Of allocate(). Does not block.
  void deallocate(T* memory, std::size_t /*count*/) noexcept { ringleader::free(memory); }

  /// Always: memory of one may be freed by another.
  template <typename U>
  bool operator==(const SharedAllocator<U>&) const noexcept {
    return true;
  }
  /// Never.
  template <typename U>
  bool operator!=(const SharedAllocator<U>&) const noexcept {
    return false;
  }
};

}  // namespace ringleader
