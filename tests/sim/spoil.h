// SPDX-License-Identifier: Apache-2.0
//
// Making one rank's request differ from the others' in every way in which ranks can disagree.
#pragma once

#include "random.h"

#include <ringleader/core/protocol/request.h>

namespace ringleader::sim {

inline void spoil_tensor(protocol::TensorSpec& tensor, Random& random) {
  switch (random.between(0, 2)) {
    case 0:
      tensor.dtype = DType::i64;
      break;
    case 1:
      tensor.shape.push_back(2);
      break;
    default:
      tensor.shape.push_back(1);  // as many elements, but another shape
  }
}

inline void spoil(protocol::Request& request, Random& random) {
  switch (random.between(0, 7)) {
    case 0:
      request.reduce_op = ReduceOp::max;
      break;
    case 1:
      request.prescale = 0.5;
      break;
    case 2:
      request.device = Device::cuda;
      break;
    case 3:
      request.root = request.root == 0 ? 1 : 0;
      break;
    case 4:
      request.op = request.op == Op::allreduce ? Op::reduce_scatter : Op::allreduce;
      if (request.tensors.empty()) request.tensors.push_back({"", {4}, DType::f32});
      break;
    case 5:
      request.tensors.push_back({"", {3}, DType::f32});
      break;
    case 6:
      request.postscale = 2.0;
      break;
    default:
      if (request.tensors.empty()) {
        request.average_over_contributors = true;
      } else {
        spoil_tensor(request.tensors.back(), random);
      }
  }
}

/// A plan that differs in a name, the order, a shape or the number of parameters.
inline void spoil_plan(protocol::Request& request, Random& random) {
  switch (random.between(0, 3)) {
    case 0:
      request.tensors[0].name = "bais";
      break;
    case 1:
      std::swap(request.tensors[0], request.tensors[1]);
      break;
    case 2:
      spoil_tensor(request.tensors[1], random);
      break;
    default:
      request.tensors.pop_back();
  }
}

}  // namespace ringleader::sim
