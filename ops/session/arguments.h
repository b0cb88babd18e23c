// SPDX-License-Identifier: Apache-2.0
//
// Checks of an operation's arguments that concern this rank alone, whatever the others do.
// Each function throws Error(invalid_argument), which names the operation.
#pragma once

#include <ringleader/core/protocol/request.h>
#include <ringleader/core/tensor.h>

#include <string_view>
#include <vector>

namespace ringleader {

[[noreturn]] void refuse(const protocol::Request& request, std::string_view why);

/// The name is neither empty nor too long nor reserved for the library.
void check_name(const protocol::Request& request);

/// The reduction exists, and its scale factors are finite.
void check_reduction(const protocol::Request& request);

/// The tensor has a valid type, aligned memory and a sensible shape.
void check_tensor(const protocol::Request& request, const ConstTensorView& tensor);

/// Input and output agree, and are either the same memory or do not overlap.
void check_pair(const protocol::Request& request, const ConstTensorView& input,
                const TensorView& output);

/// No two of the tensors share memory.
void check_disjoint(const protocol::Request& request, const std::vector<TensorView>& tensors);

/// The tensor has a first dimension.
void check_rows(const protocol::Request& request, const ConstTensorView& input);

}  // namespace ringleader
