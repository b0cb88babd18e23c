// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/session/arguments.h>
#include <ringleader/ops/session/current_session.h>

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <utility>

namespace ringleader {
namespace {

constexpr std::size_t kNameBytesMax = 4096;
constexpr std::size_t kDimensionsMax = 32;

}  // namespace

void refuse(const protocol::Request& request, std::string_view why) {
  throw Error(Status(Code::invalid_argument, fmt::format("{}: {}", describe(request), why)));
}

void check_name(const protocol::Request& request) {
  if (request.name.empty()) refuse(request, "the name is empty");
  if (request.name.size() > kNameBytesMax) refuse(request, "the name is longer than 4096 bytes");
  if (request.name.rfind(kReservedPrefix, 0) == 0) {
    refuse(request,
           fmt::format("names that begin with '{}' are the library's own", kReservedPrefix));
  }
}

void check_reduction(const protocol::Request& request) {
  if (static_cast<int>(request.reduce_op) >= kReduceOpCount) {
    refuse(request, fmt::format("there is no reduction {}", static_cast<int>(request.reduce_op)));
  }
  for (const auto& [name, value] :
       {std::pair("prescale", request.prescale), std::pair("postscale", request.postscale)}) {
    if (!std::isfinite(value)) refuse(request, fmt::format("{} is not finite: {}", name, value));
  }
}

void check_tensor(const protocol::Request& request, const ConstTensorView& tensor) {
  if (static_cast<int>(tensor.dtype()) >= kDTypeCount) {
    refuse(request, fmt::format("there is no element type {}", static_cast<int>(tensor.dtype())));
  }
  if (static_cast<int>(tensor.device()) >= kDeviceCount) {
    refuse(request, fmt::format("there is no device {}", static_cast<int>(tensor.device())));
  }
  if (tensor.shape().size() > kDimensionsMax) refuse(request, "more than 32 dimensions");
  // Neither the number of elements nor the number of bytes may overflow.
  std::int64_t room =
      std::numeric_limits<std::int64_t>::max() / static_cast<std::int64_t>(size_of(tensor.dtype()));
  for (const std::int64_t extent : tensor.shape()) {
    if (extent < 0) refuse(request, "negative extent in " + to_string(tensor.shape()));
    room /= std::max<std::int64_t>(extent, 1);
  }
  if (room == 0) refuse(request, "too many elements in " + to_string(tensor.shape()));
  if (tensor.count() == 0) return;
  if (tensor.data() == nullptr) refuse(request, "the tensor has no memory");
  if (reinterpret_cast<std::uintptr_t>(tensor.data()) % size_of(tensor.dtype()) != 0) {
    refuse(request,
           fmt::format("the tensor is not aligned to its {} elements", name_of(tensor.dtype())));
  }
}

void check_pair(const protocol::Request& request, const ConstTensorView& input,
                const TensorView& output) {
  check_tensor(request, input);
  check_tensor(request, output);
  if (input.shape() != output.shape() || input.dtype() != output.dtype()) {
    refuse(request, fmt::format("the output is {} {}, the input {} {}", name_of(output.dtype()),
                                to_string(output.shape()), name_of(input.dtype()),
                                to_string(input.shape())));
  }
  if (input.device() != output.device())
    refuse(request, "input and output are in different memory");
  const auto* a = static_cast<const std::byte*>(input.data());
  const auto* b = static_cast<const std::byte*>(output.data());
  const std::less<> before;
  if (a != b && before(a, b + output.bytes()) && before(b, a + input.bytes())) {
    refuse(request, "input and output overlap without being the same");
  }
}

void check_disjoint(const protocol::Request& request, const std::vector<TensorView>& tensors) {
  std::vector<std::pair<const std::byte*, const std::byte*>> ranges;
  for (const TensorView& tensor : tensors) {
    const auto* const begin = static_cast<const std::byte*>(tensor.data());
    if (tensor.bytes() > 0) ranges.emplace_back(begin, begin + tensor.bytes());
  }
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 1; i < ranges.size(); ++i) {
    if (ranges[i].first < ranges[i - 1].second) refuse(request, "tensors of the group overlap");
  }
}

void check_rows(const protocol::Request& request, const ConstTensorView& input) {
  check_tensor(request, input);
  if (input.shape().empty()) refuse(request, "a scalar has no first dimension");
}

}  // namespace ringleader
