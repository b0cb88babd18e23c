// SPDX-License-Identifier: Apache-2.0
//
// Checks of an optimizer that concern this rank alone. Each function throws Error, which names the
// optimizer.
#pragma once

#include <ringleader/core/types.h>
#include <ringleader/ops/gradient_reducer.h>
#include <ringleader/ops/slot.h>

#include <string>
#include <string_view>
#include <vector>

namespace ringleader {

[[noreturn]] void refuse(const OptimizerOptions& options, std::string_view why);

/// The slots can be reduced, and the options make sense together.
void check_optimizer(const std::vector<Slot>& slots, const OptimizerOptions& options);

/// The type in which f32 gradients are sent.
DType compressed_type(Compression compression);

/// While it lives, the parameters of these slots cannot be claimed again: two optimizers would
/// reduce their gradients twice.
class ParameterClaim {
 public:
  ParameterClaim(const std::vector<Slot>& slots, const std::string& optimizer);
  ~ParameterClaim();
  ParameterClaim(const ParameterClaim&) = delete;
  ParameterClaim& operator=(const ParameterClaim&) = delete;

 private:
  std::vector<const void*> addresses_;
};

}  // namespace ringleader
