// SPDX-License-Identifier: Apache-2.0
#include "launch.h"

#include "../../collectives/nccl/arithmetic.cu"
#include "../../collectives/nccl/fusion_kernels.cu"
