// SPDX-License-Identifier: Apache-2.0
//
// Collecting tensors in one buffer, and spreading it, with conversion and scaling on the way. One
// launch, however many tensors.
//
//   bytes: every element is read once and written once; a launch costs some microseconds
#pragma once

#include <ringleader/collectives/nccl/handles.h>
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

/// The kernels of one stream. Calls enqueue and do not block; a table must live until its kernel
/// has run, and lies in pinned memory where nothing may wait for the stream.
class FusionKernels {
 public:
  explicit FusionKernels(cudaStream_t stream) : stream_(stream) {}

  /// wire[piece.wire_begin + i] = scale(piece[i]). Types: the same; integers as i64; f32 as f16 or
  /// bf16.
  Status pack(const FusionTable& table, void* wire, DType wire_type, Scale scale);

  /// piece[i] = scale(wire[piece.wire_begin + i]).
  Status unpack(const FusionTable& table, const void* wire, DType wire_type, Scale scale);

 private:
  template <bool kPacks>
  Status move(const FusionTable& table, void* wire, DType wire_type, Scale scale);
  template <typename T, typename W, bool kPacks>
  Status launch(const FusionTable& table, void* wire, Scale scale);

  cudaStream_t stream_;
  StreamScratch table_;  ///< of the kernel that was enqueued last
};

}  // namespace ringleader::nccl
