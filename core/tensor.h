// SPDX-License-Identifier: Apache-2.0
//
// TensorView: a typed, shaped view of the user's memory. It owns nothing; the memory must stay
// valid and untouched until the operation that uses it has completed.
//
//   std::vector<float> gradient(n);
//   TensorView view(gradient);               // shape [n], f32
//   TensorView matrix(data, {rows, columns});
#pragma once

#include <ringleader/core/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace ringleader {

/// Extents, outermost first, in elements; empty for a scalar.
using Shape = std::vector<std::int64_t>;

/// The product of the extents: 1 for a scalar.
std::int64_t count_of(const Shape& shape);

/// "[2, 3]"
std::string to_string(const Shape& shape);

namespace detail {
template <typename T>
constexpr bool is_element =
    std::is_arithmetic_v<T> || std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>;
}  // namespace detail

/// A contiguous tensor in row-major order. `Void` is `void` or `const void`.
template <typename Void>
class BasicTensorView {
 public:
  BasicTensorView() = default;

  /// Memory whose element type is known only at run time.
  BasicTensorView(Void* data, Shape shape, DType dtype, Device device = Device::host)
      : data_(data), shape_(std::move(shape)), dtype_(dtype), device_(device) {}

  /// `data` points to count_of(shape) elements.
  template <typename T, typename = std::enable_if_t<!std::is_void_v<T>>>
  BasicTensorView(T* data, Shape shape, Device device = Device::host)
      : BasicTensorView(static_cast<Void*>(data), std::move(shape), dtype_of<T>(), device) {}

  /// The whole vector as a one-dimensional tensor.
  template <typename T, typename Allocator>
  BasicTensorView(std::vector<T, Allocator>& values)  // NOLINT(google-explicit-constructor)
      : BasicTensorView(values.data(), {static_cast<std::int64_t>(values.size())}) {}
  template <typename T, typename Allocator, typename V = Void,
            typename = std::enable_if_t<std::is_const_v<V>>>
  /// The whole constant vector as a one-dimensional tensor.
  BasicTensorView(const std::vector<T, Allocator>& values)  // NOLINT(google-explicit-constructor)
      : BasicTensorView(values.data(), {static_cast<std::int64_t>(values.size())}) {}

  /// The whole array as a one-dimensional tensor.
  template <typename T, std::size_t N>
  BasicTensorView(std::array<T, N>& values)  // NOLINT(google-explicit-constructor)
      : BasicTensorView(values.data(), {static_cast<std::int64_t>(N)}) {}
  /// A scalar: no dimension, one element.
  template <typename T, typename = std::enable_if_t<detail::is_element<T>>>
  BasicTensorView(T& value)  // NOLINT(google-explicit-constructor)
      : BasicTensorView(&value, Shape()) {}

  /// Any span type, from the standard library or elsewhere.
  template <typename Span, typename T = typename Span::element_type,
            typename = std::enable_if_t<std::is_convertible_v<T*, Void*>>,
            typename = decltype(std::declval<const Span&>().size())>
  BasicTensorView(const Span& span)  // NOLINT(google-explicit-constructor)
      : BasicTensorView(span.data(), {static_cast<std::int64_t>(span.size())}) {}

  /// A view of writable memory is also a view of constant memory.
  template <typename V = Void, typename = std::enable_if_t<std::is_const_v<V>>>
  BasicTensorView(const BasicTensorView<void>& other)  // NOLINT(google-explicit-constructor)
      : BasicTensorView(other.data(), other.shape(), other.dtype(), other.device()) {
    stream_ = other.stream();
  }

  /// The same tensor in device memory, used before and after an operation by work in `stream` (a
  /// cudaStream_t). An operation waits for the work that is in the stream when it is submitted;
  /// Handle::wait(stream) orders the work that follows.
  [[nodiscard]] BasicTensorView on(void* stream) const {
    BasicTensorView view = *this;
    view.stream_ = stream;
    return view;
  }

  /// The first element.
  Void* data() const { return data_; }
  /// Elements per dimension; empty for a scalar.
  const Shape& shape() const { return shape_; }
  /// The element type.
  DType dtype() const { return dtype_; }
  /// Where the memory is.
  Device device() const { return device_; }

  /// Device memory: the stream given to on(), or else the default stream.
  void* stream() const { return stream_; }

  /// Elements: the product of the shape.
  std::int64_t count() const { return count_of(shape_); }
  /// Bytes of all elements.
  std::size_t bytes() const { return static_cast<std::size_t>(count()) * size_of(dtype_); }

 private:
  Void* data_ = nullptr;
  Shape shape_ = {0};
  DType dtype_ = DType::f32;
  Device device_ = Device::host;
  void* stream_ = nullptr;
};

/// Memory that an operation writes, or reads and writes.
using TensorView = BasicTensorView<void>;
/// Memory that an operation only reads.
using ConstTensorView = BasicTensorView<const void>;

}  // namespace ringleader
