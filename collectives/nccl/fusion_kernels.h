// SPDX-License-Identifier: Apache-2.0
//
// Packs tensors into one buffer and unpacks them from it, converting and scaling on the way. One
// launch, however many tensors.
//
//   bytes: every element is read once and written once; a launch costs some microseconds
#pragma once

#include <ringleader/collectives/nccl/handles.h>
#include <ringleader/collectives/nccl/transfer.h>
#include <ringleader/core/types.h>

namespace ringleader::nccl {

/// How an element is scaled: it is multiplied in the wider type, divided, and rounded once.
/// Integers are divided exactly and truncated toward zero.
struct Scale {
  double factor = 1.0;
  std::int64_t divisor = 1;
};

/// Call this before any kernel that waits for other ranks runs: the first use of a kernel loads it,
/// which may wait for the device.
Status load_kernels();

/// The kernels of one stream. Calls enqueue work and do not block. A table must live until its
/// kernel has run, and must be in pinned memory if nothing may wait for the stream.
class FusionKernels {
 public:
  explicit FusionKernels(cudaStream_t stream) : stream_(stream) {}

  /// wire[piece.wire_begin + i] = scale(piece[i]). The wire type is the tensors' type; or i64 for
  /// integers; or f16 or bf16 for f32.
  Status pack(const FusionTable& table, void* wire, DType wire_type, Scale scale);

  /// piece[i] = scale(wire[piece.wire_begin + i]).
  Status unpack(const FusionTable& table, const void* wire, DType wire_type, Scale scale);

 private:
  template <bool kPacks>
  Status move(const FusionTable& table, void* wire, DType wire_type, Scale scale);
  template <typename T, typename W, bool kPacks>
  Status launch(const FusionTable& table, void* wire, Scale scale);

  cudaStream_t stream_;
  StreamScratch table_;  ///< of the kernel enqueued last
};

}  // namespace ringleader::nccl
