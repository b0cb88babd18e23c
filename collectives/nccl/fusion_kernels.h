// SPDX-License-Identifier: Apache-2.0
//
// Collecting tensors in one buffer, and spreading it, with conversion and scaling on the way. One
// launch, however many tensors.
//
//   bytes: every element is read once and written once; a launch costs some microseconds
#pragma once

#include <ringleader/collectives/nccl/checked.h>
#include <ringleader/collectives/nccl/transfer.h>
#include <ringleader/core/types.h>

namespace ringleader::nccl {

/// What happens to an element: multiplied as a number of the wider type, divided, rounded once.
/// Integers are divided exactly, and truncated toward zero.
struct Scale {
  double factor = 1.0;
  std::int64_t divisor = 1;
};

/// To be called before kernels that wait for other ranks run: the first use of a kernel loads it,
/// and may wait for the device.
Status load_kernels();

/// wire[piece.wire_begin + i] = scale(piece[i]). Enqueues, does not block; the table must live
/// until the kernel has run.
Status pack(const FusionTable& table, DType tensor, void* wire, DType wire_type, Scale scale,
            cudaStream_t stream);

/// piece[i] = scale(wire[piece.wire_begin + i]).
Status unpack(const FusionTable& table, DType tensor, const void* wire, DType wire_type,
              Scale scale, cudaStream_t stream);

/// Every element a copy of the one at `element`, in host memory.
Status fill(void* data, std::int64_t count, DType dtype, const void* element, cudaStream_t stream);

}  // namespace ringleader::nccl
