// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/pipeline/scaling.h>

#include <ringleader/core/float_environment.h>
#include <ringleader/core/number.h>
#include <ringleader/core/types.h>

namespace ringleader {

void scale(const TensorView& tensor, double factor) {
  const DefaultFloats floats;
  with_type(tensor.dtype(), [&](auto element) {
    using T = decltype(element);
    auto* const values = static_cast<T*>(tensor.data());
    for (std::int64_t i = 0; i < tensor.count(); ++i) {
      values[i] = from_double<T>(to_double(values[i]) * factor);
    }
  });
}

}  // namespace ringleader
