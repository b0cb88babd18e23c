// SPDX-License-Identifier: Apache-2.0
#include "../support/catch.h"

#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/core/half.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

using namespace ringleader;
using kernels::ReduceSpec;

namespace {

template <typename T>
T reduce_one(const ReduceSpec& spec, const std::vector<T>& values) {
  std::vector<const void*> sources;
  for (const T& value : values) sources.push_back(&value);
  T out;
  kernels::reduce(spec, sources, static_cast<void*>(&out), 1);
  return out;
}

/// Any bit pattern: subnormal numbers, infinities and NaN too.
std::vector<std::byte> random_bytes(std::mt19937_64& random, std::size_t bytes) {
  std::vector<std::byte> data(bytes);
  for (std::byte& byte : data) byte = static_cast<std::byte>(random());
  return data;
}

/// Equal bits, or both not a number.
bool same(DType dtype, const std::byte* a, const std::byte* b) {
  if (std::memcmp(a, b, size_of(dtype)) == 0) return true;
  return is_floating_point(dtype) && with_type(dtype, [&](auto x) {
           auto y = x;
           std::memcpy(&x, a, sizeof x);
           std::memcpy(&y, b, sizeof y);
           return std::isnan(static_cast<double>(static_cast<float>(x))) &&
                  std::isnan(static_cast<double>(static_cast<float>(y)));
         });
}

}  // namespace

TEST_CASE("vector instructions give the bits of the plain loops") {
  std::mt19937_64 random(7);
  constexpr std::int64_t kCounts[] = {1, 3, 16, 17, 64, 255, 256, 1027};
  for (int variant = 0; variant < 4000; ++variant) {
    ReduceSpec spec;
    spec.dtype = static_cast<DType>(random() % kDTypeCount);
    spec.op = static_cast<ReduceOp>(random() % kReduceOpCount);
    if (random() % 2 == 0) spec.prescale = 0.75;
    if (random() % 2 == 0) spec.postscale = 1.5;
    const std::size_t ranks = 1 + random() % 20;
    spec.divisor = static_cast<std::int64_t>(ranks);
    const std::int64_t count = kCounts[random() % std::size(kCounts)];
    const std::size_t element = size_of(spec.dtype);
    const std::size_t bytes = static_cast<std::size_t>(count) * element;
    const auto stores = random() % 2 == 0 ? kernels::Stores::cached : kernels::Stores::streaming;
    // Sources and outs at any multiple of the element's size; sometimes in place.
    std::vector<std::vector<std::byte>> data;
    std::vector<const void*> sources;
    std::vector<void*> outs;
    for (std::size_t i = 0; i < 2 * ranks; ++i) {
      const std::size_t shift = element * (random() % 9);
      data.push_back(random_bytes(random, bytes + shift));
      if (i < ranks) sources.push_back(data.back().data() + shift);
      if (i >= ranks) outs.push_back(data.back().data() + shift);
    }
    if (random() % 2 == 0) {
      for (std::size_t i = 0; i < ranks; ++i) outs[i] = const_cast<void*>(sources[i]);
    }
    std::vector<std::byte> expected(bytes);
    kernels::reduce_plainly(spec, sources, expected.data(), count);
    kernels::reduce(spec, sources, outs, count, stores);
    bool equal = true;
    for (const void* out : outs) {
      for (std::size_t i = 0; i < bytes; i += element) {
        equal = equal && same(spec.dtype, static_cast<const std::byte*>(out) + i, &expected[i]);
      }
    }
    INFO(name_of(spec.dtype) << " " << name_of(spec.op) << " x " << count << ", " << ranks
                             << " ranks, scales " << spec.prescale << " " << spec.postscale);
    CHECK(equal);
  }
}

TEST_CASE("a streamed copy is a copy") {
  std::mt19937_64 random(8);
  for (std::size_t bytes : {0U, 1U, 63U, 64U, 65U, 1000U, 4097U}) {
    for (std::size_t shift = 0; shift < 65; shift += 13) {
      const std::vector<std::byte> source = random_bytes(random, bytes + shift);
      std::vector<std::byte> out(bytes + 2 * shift);
      kernels::copy_bytes(source.data() + shift, out.data() + shift, bytes,
                          kernels::Stores::streaming);
      CHECK(std::equal(source.begin() + static_cast<std::ptrdiff_t>(shift), source.end(),
                       out.begin() + static_cast<std::ptrdiff_t>(shift)));
      CHECK(std::all_of(out.end() - static_cast<std::ptrdiff_t>(shift), out.end(),
                        [](std::byte b) { return b == std::byte{0}; }));
    }
  }
}

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
      const std::vector<const void*> sources = {&value, &neutral};
      kernels::reduce({dtype, op, 1.0, 1.0, 1}, sources, static_cast<void*>(&out), 1);
      INFO(name_of(dtype) << " " << name_of(op));
      CHECK(std::memcmp(&out, &value, size_of(dtype)) == 0);
    }
  }
}
