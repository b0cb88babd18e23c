// SPDX-License-Identifier: Apache-2.0
//
// reducer.hpp includes a header of this name, which Debian's libtorch-dev leaves out, for one type
// of which it holds pointers. Searched last: a LibTorch that has the header uses its own.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>

namespace torch::distributed::autograd {

/// Its members are never used here.
class DistAutogradContext {
 public:
  using GradCallback = std::function<bool(at::Tensor&)>;
};
using ContextPtr = std::shared_ptr<DistAutogradContext>;

}  // namespace torch::distributed::autograd
