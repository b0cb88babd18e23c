// SPDX-License-Identifier: Apache-2.0
#include "launch.h"

#include "../../examples/train_mnist/cuda_kernels.cu"
