// SPDX-License-Identifier: Apache-2.0
//
// Output: a tensor that an operation allocated, because only the operation could know its size.
//
//   Output all = allgather("scores", view);
//   std::vector<float> scores = all.to_vector<float>();
#pragma once

#include <ringleader/core/status.h>
#include <ringleader/core/tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ringleader {

/// The result of allgather, reduce_scatter and alltoall.
class Output {
 public:
  Output() = default;
  /// `storage` keeps the memory behind `view` alive. `rows` has the extent of the first dimension
  /// for each rank.
  Output(std::shared_ptr<std::byte> storage, TensorView view, std::vector<std::int64_t> rows)
      : storage_(std::move(storage)), view_(std::move(view)), rows_(std::move(rows)) {}

  /// The tensor: blocks in rank order along the first dimension. Valid as long as this Output or a
  /// copy of it lives.
  const TensorView& view() const { return view_; }

  /// Rows (extent of the first dimension) of each rank's block, in rank order.
  const std::vector<std::int64_t>& rows() const { return rows_; }

  /// A copy of the elements. T must be the tensor's element type.
  template <typename T>
  std::vector<T> to_vector() const {
    if (view_.dtype() != dtype_of<T>()) {
      throw Error(Status(Code::invalid_argument, std::string("the output has elements of type ") +
                                                     name_of(view_.dtype()) + ", not " +
                                                     name_of(dtype_of<T>())));
    }
    if (view_.device() != Device::host) {
      throw Error(Status(Code::unsupported, "the output is in device memory; copy it from there"));
    }
    const T* first = static_cast<const T*>(view_.data());
    return std::vector<T>(first, first + view_.count());
  }

 private:
  std::shared_ptr<std::byte> storage_;
  TensorView view_;
  std::vector<std::int64_t> rows_;
};

}  // namespace ringleader
