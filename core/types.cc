// SPDX-License-Identifier: Apache-2.0
#include <ringleader/core/types.h>

namespace ringleader {

const char* name_of(DType dtype) {
  static constexpr const char* kNames[kDTypeCount] = {"u8",  "i8",   "i16", "i32", "i64",
                                                      "f16", "bf16", "f32", "f64"};
  return kNames[static_cast<std::size_t>(dtype)];
}

const char* name_of(ReduceOp op) {
  static constexpr const char* kNames[kReduceOpCount] = {"sum", "average", "min", "max", "product"};
  return kNames[static_cast<std::size_t>(op)];
}

const char* name_of(Op op) {
  static constexpr const char* kNames[kOpCount] = {"allreduce",      "allgather", "broadcast",
                                                   "reduce_scatter", "alltoall",  "exchange"};
  return kNames[static_cast<std::size_t>(op)];
}

const char* name_of(Device device) { return device == Device::host ? "host" : "cuda"; }

std::size_t size_of(DType dtype) {
  static constexpr std::size_t kSizes[kDTypeCount] = {1, 1, 2, 4, 8, 2, 2, 4, 8};
  return kSizes[static_cast<std::size_t>(dtype)];
}

bool is_floating_point(DType dtype) { return dtype >= DType::f16; }

}  // namespace ringleader
