// SPDX-License-Identifier: Apache-2.0
//
// Memory that the ranks of a node share. Tensors in it are reduced in place, without being copied
// on the way.
//
//   std::vector<float, ringleader::SharedAllocator<float>> gradient(n);
//   auto* weights = static_cast<float*>(ringleader::allocate(bytes));
//
// For everything else it is ordinary memory. It may be allocated before init() and used after
// shutdown(). Freed memory is reused, but stays with the process until the process ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

namespace ringleader {

/// Allocates `bytes` bytes, aligned to a cache line. If there is no shared memory, or
/// RINGLEADER_ARENA_BYTES of it are in use, returns ordinary memory and logs that once. Throws
/// std::bad_alloc if there is no memory at all. Does not block. Any thread.
void* allocate(std::size_t bytes);

/// Frees memory from allocate(). Does nothing for null. Any thread.
void free(void* memory) noexcept;

/// allocate() and free() as an allocator for standard containers.
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
  /// Frees memory from allocate(). Does not block.
  void deallocate(T* memory, std::size_t /*count*/) noexcept { ringleader::free(memory); }

  /// Always true: memory from one may be freed by another.
  template <typename U>
  bool operator==(const SharedAllocator<U>&) const noexcept {
    return true;
  }
  /// Always false.
  template <typename U>
  bool operator!=(const SharedAllocator<U>&) const noexcept {
    return false;
  }
};

}  // namespace ringleader
