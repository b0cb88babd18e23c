// SPDX-License-Identifier: Apache-2.0
//
// A build without NCCL.
#include "nccl_baseline.h"

namespace ringleader::benchmarks {

std::function<void()> nccl_allreduce(const Pieces& /*pieces*/, DType /*dtype*/, ReduceOp /*op*/,
                                     bool /*enqueue*/) {
  return nullptr;
}

}  // namespace ringleader::benchmarks
