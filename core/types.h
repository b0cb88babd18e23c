// SPDX-License-Identifier: Apache-2.0
//
// The vocabulary of operations: element types, reductions, operations and devices. All are plain
// values, so that a variant is data and never another class.
#pragma once

#include <ringleader/core/half.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace ringleader {

/// Element types.
enum class DType : std::uint8_t { u8, i8, i16, i32, i64, f16, bf16, f32, f64 };
/// How many element types there are.
constexpr int kDTypeCount = 9;

/// How the ranks' elements are combined.
///   average  sum divided by the number of ranks; exact for integers, truncated toward zero
enum class ReduceOp : std::uint8_t { sum, average, min, max, product };
/// How many reductions there are.
constexpr int kReduceOpCount = 5;

/// The collective operations on tensors.
enum class Op : std::uint8_t {
  allreduce,
  allgather,
  broadcast,
  reduce_scatter,
  alltoall,
  exchange,
};
/// How many operations there are.
constexpr int kOpCount = 6;

/// Where a tensor's memory is.
enum class Device : std::uint8_t { host, cuda };
/// How many kinds of memory there are.
constexpr int kDeviceCount = 2;

/// "f32" for DType::f32.
const char* name_of(DType dtype);
/// "average" for ReduceOp::average.
const char* name_of(ReduceOp op);
/// "allreduce" for Op::allreduce.
const char* name_of(Op op);
/// "host" for Device::host.
const char* name_of(Device device);

/// Bytes of one element.
std::size_t size_of(DType dtype);

/// True for f16, bf16, f32 and f64.
bool is_floating_point(DType dtype);

/// The DType of a C++ type; does not compile for types that have none.
template <typename T>
constexpr DType dtype_of() {
  using U = std::remove_cv_t<T>;
  if constexpr (std::is_same_v<U, Float16>) {
    return DType::f16;
  } else if constexpr (std::is_same_v<U, BFloat16>) {
    return DType::bf16;
  } else if constexpr (std::is_same_v<U, float>) {
    return DType::f32;
  } else if constexpr (std::is_same_v<U, double>) {
    return DType::f64;
  } else {
    static_assert(std::is_integral_v<U> || std::is_same_v<U, std::byte>,
                  "ringleader has no element type for this C++ type");
    constexpr bool kIsSigned = std::is_signed_v<U>;
    static_assert(sizeof(U) == 1 || kIsSigned, "unsigned integers are supported in 8 bits only");
    if constexpr (sizeof(U) == 1) return kIsSigned ? DType::i8 : DType::u8;
    if constexpr (sizeof(U) == 2) return DType::i16;
    if constexpr (sizeof(U) == 4) return DType::i32;
    return DType::i64;
  }
}

/// Calls visit(T()) with the C++ type of a DType and returns what it returns.
template <typename Visit>
decltype(auto) with_type(DType dtype, Visit visit) {
  switch (dtype) {
    case DType::u8:
      return visit(std::uint8_t());
    case DType::i8:
      return visit(std::int8_t());
    case DType::i16:
      return visit(std::int16_t());
    case DType::i32:
      return visit(std::int32_t());
    case DType::i64:
      return visit(std::int64_t());
    case DType::f16:
      return visit(Float16());
    case DType::bf16:
      return visit(BFloat16());
    case DType::f32:
      return visit(float());
    case DType::f64:
      break;
  }
  return visit(double());
}

}  // namespace ringleader
