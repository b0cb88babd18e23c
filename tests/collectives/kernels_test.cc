// SPDX-License-Identifier: Apache-2.0
#include "../support/catch.h"

#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/core/half.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

using namespace ringleader;
using kernels::ReduceSpec;

namespace {

template <typename T>
T reduce_one(const ReduceSpec& spec, const std::vector<T>& values) {
  std::vector<const void*> sources;
  for (const T& value : values) sources.push_back(&value);
  T out;
  kernels::reduce(spec, sources, &out, 1);
  return out;
}

}  // namespace

TEST_CASE("49 ranks of the integer 1 average to 1") {
  const ReduceSpec spec{DType::i32, ReduceOp::average, 1.0, 1.0, 49};
  CHECK(reduce_one(spec, std::vector<std::int32_t>(49, 1)) == 1);
}

TEST_CASE("an integer average does not overflow on the way") {
  const ReduceSpec bytes{DType::u8, ReduceOp::average, 1.0, 1.0, 3};
  CHECK(reduce_one<std::uint8_t>(bytes, {250, 251, 252}) == 251);
  const std::int64_t large = std::numeric_limits<std::int64_t>::max();
  const ReduceSpec longs{DType::i64, ReduceOp::average, 1.0, 1.0, 4};
  CHECK(reduce_one<std::int64_t>(longs, {large, large, large, large}) == large);
  CHECK(reduce_one<std::int64_t>(longs, {-large, -large, -large, -large}) == -large);
}

TEST_CASE("sums of 16-bit floats are rounded once") {
  // 2048 + 1 + 1 + 1 + 1: each single addition in 16 bits would be lost.
  const ReduceSpec spec{DType::f16, ReduceOp::sum, 1.0, 1.0, 1};
  std::vector<Float16> values = {Float16(2048.f), Float16(1.f), Float16(1.f), Float16(1.f),
                                 Float16(1.f)};
  CHECK(static_cast<float>(reduce_one(spec, values)) == 2052.f);
}

TEST_CASE("every 16-bit float survives a round trip through float") {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float f = Float16::to_float(half);
    if (std::isnan(f)) {
      CHECK(std::isnan(Float16::to_float(Float16::from_float(f))));
    } else {
      CHECK(Float16::from_float(f) == half);
    }
    const float b = BFloat16::to_float(half);
    if (!std::isnan(b)) CHECK(BFloat16::from_float(b) == half);
  }
}

TEST_CASE("conversion to 16 bits rounds to nearest, ties to even") {
  CHECK(Float16(2049.f).bits == Float16(2048.f).bits);
  CHECK(Float16(2051.f).bits == Float16(2052.f).bits);
  CHECK(Float16(65519.f).bits == Float16(65504.f).bits);
  CHECK(std::isinf(static_cast<float>(Float16(65520.f))));
  CHECK(BFloat16(257.f).bits == BFloat16(256.f).bits);
  CHECK(std::isnan(static_cast<float>(BFloat16(std::nanf("")))));
  CHECK(Float16(5.9604645e-8f).bits == 1);  // the smallest subnormal number
}

TEST_CASE("integers are scaled in f64 and truncated") {
  const ReduceSpec spec{DType::i32, ReduceOp::sum, 0.5, 1.5, 1};
  CHECK(reduce_one<std::int32_t>(spec, {3, 5}) == 4);  // (1 + 2) * 1.5
  CHECK(reduce_one<std::int32_t>(spec, {-3, -5}) == -4);
}

TEST_CASE("neutral elements change nothing") {
  for (int d = 0; d < kDTypeCount; ++d) {
    for (int o = 0; o < kReduceOpCount; ++o) {
      const auto dtype = static_cast<DType>(d);
      const auto op = static_cast<ReduceOp>(o);
      std::int64_t value = 0x4141414141414141;  // some bits in every type
      std::int64_t neutral = 0;
      kernels::fill_neutral(&neutral, 1, dtype, op);
      std::int64_t out = 0;
      kernels::reduce({dtype, op, 1.0, 1.0, 1}, {&value, &neutral}, &out, 1);
      INFO(name_of(dtype) << " " << name_of(op));
      CHECK(std::memcmp(&out, &value, size_of(dtype)) == 0);
    }
  }
}
