// SPDX-License-Identifier: Apache-2.0
//
// What can be wrong with the arguments of an operation on this rank alone, whatever the others do.
// Each function throws Error(invalid_argument) that names the operation.
#pragma once

#include <ringleader/core/protocol/request.h>
#include <ringleader/core/tensor.h>

#include <string_view>
#include <vector>

namespace ringleader {

[[noreturn]] void refuse(const protocol::Request& request, std::string_view why);

/// The name is neither empty, nor too long, nor the library's own.
void check_name(const protocol::Request& request);

/// There is such a reduction, and its factors are finite.
void check_reduction(const protocol::Request& request);

/// The tensor has a type, memory that is aligned, and a sensible shape.
void check_tensor(const protocol::Request& request, const ConstTensorView& tensor);

/// Input and output agree and do not overlap without being the same.
void check_pair(const protocol::Request& request, const ConstTensorView& input,
                const TensorView& output);

/// No two of the tensors share memory.
void check_disjoint(const protocol::Request& request, const std::vector<TensorView>& tensors);

/// The tensor has a first dimension.
void check_rows(const protocol::Request& request, const ConstTensorView& input);

}  // namespace ringleader
