// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic on whole gradients in host memory.
#pragma once

#include <ringleader/core/tensor.h>

namespace ringleader {

void scale(const TensorView& tensor, double factor);

}  // namespace ringleader
