// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/nccl/arithmetic.h>

#include <ringleader/collectives/nccl/device_types.cuh>

#include <cstring>

namespace ringleader::nccl {
namespace {

/// The elements of a thread: every `step`-th from `first`.
struct Stride {
  std::int64_t first;
  std::int64_t step;
};
__device__ Stride own_stride() {
  return {std::int64_t{blockIdx.x} * kThreads + threadIdx.x, std::int64_t{gridDim.x} * kThreads};
}

template <typename T>
__global__ void __launch_bounds__(kThreads) fill_all(T* data, std::int64_t count, T value) {
  const Stride stride = own_stride();
  for (std::int64_t i = stride.first; i < count; i += stride.step) data[i] = value;
}

template <typename T, typename Wide>
__global__ void __launch_bounds__(kThreads) multiply_all(T* data, std::int64_t count, Wide factor) {
  const Stride stride = own_stride();
  for (std::int64_t i = stride.first; i < count; i += stride.step) {
    data[i] = static_cast<T>(static_cast<Wide>(data[i]) * factor);
  }
}

template <typename T, typename Wide>
__global__ void __launch_bounds__(kThreads)
    add_all_squares(const T* data, std::int64_t count, double* partial) {
  const Stride stride = own_stride();
  double sum = 0;
  for (std::int64_t i = stride.first; i < count; i += stride.step) {
    const auto value = static_cast<double>(static_cast<Wide>(data[i]));
    sum += value * value;
  }
  partial[stride.first] += sum;
}

std::int64_t blocks_for(std::int64_t count) { return (count + kThreads - 1) / kThreads; }

/// Calls visit() with a zero of the device's type and a zero of the type used for the computation.
template <typename Visit>
Status with_float_type(DType dtype, Visit visit) {
  switch (dtype) {
    case DType::f16:
      return visit(__half{}, float{});
    case DType::bf16:
      return visit(__nv_bfloat16{}, float{});
    case DType::f32:
      return visit(float{}, float{});
    case DType::f64:
      return visit(double{}, double{});
    default:
      return Status(Code::unsupported, "this is for floating-point numbers");
  }
}

template <typename T, typename Wide>
Status load_for_floats() {
  Status status = load(multiply_all<T, Wide>);
  return status.ok() ? load(add_all_squares<T, Wide>) : status;
}

}  // namespace

Status load_arithmetic() {
  for (const DType dtype : {DType::f16, DType::bf16, DType::f32, DType::f64}) {
    const Status status = with_float_type(dtype, [](auto element, auto wide) {
      return load_for_floats<decltype(element), decltype(wide)>();
    });
    if (!status.ok()) return status;
  }
  for (int dtype = 0; dtype < kDTypeCount; ++dtype) {
    const Status status = with_device_type(
        static_cast<DType>(dtype), [](auto element) { return load(fill_all<decltype(element)>); });
    if (!status.ok()) return status;
  }
  return Status();
}

Status fill(void* data, std::int64_t count, DType dtype, const void* element, cudaStream_t stream) {
  if (count == 0) return Status();
  return with_device_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    T value;
    std::memcpy(&value, element, sizeof value);
    return run(fill_all<T>, blocks_for(count), stream, static_cast<T*>(data), count, value);
  });
}

Status multiply(const TensorView& tensor, double factor, cudaStream_t stream) {
  if (tensor.count() == 0) return Status();
  return with_float_type(tensor.dtype(), [&](auto element, auto wide) {
    using T = decltype(element);
    using Wide = decltype(wide);
    return run(multiply_all<T, Wide>, blocks_for(tensor.count()), stream,
               static_cast<T*>(tensor.data()), tensor.count(), static_cast<Wide>(factor));
  });
}

Status add_squares(const TensorView& tensor, double* partial, cudaStream_t stream) {
  return with_float_type(tensor.dtype(), [&](auto element, auto wide) {
    using T = decltype(element);
    using Wide = decltype(wide);
    return run(add_all_squares<T, Wide>, kPartialSums / kThreads, stream,
               static_cast<const T*>(tensor.data()), tensor.count(), partial);
  });
}

}  // namespace ringleader::nccl
