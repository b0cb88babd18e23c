// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic on whole gradients in host memory.
#pragma once

#include <ringleader/core/tensor.h>

namespace ringleader {

double sum_of_squares(const TensorView& tensor);
void scale(const TensorView& tensor, double factor);

}  // namespace ringleader
