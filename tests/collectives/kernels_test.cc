// SPDX-License-Identifier: Apache-2.0
#include "../support/catch.h"

#include <ringleader/collectives/kernels/reduce.h>
#include <ringleader/core/half.h>

#include <limits.h>
#include <pthread.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <type_traits>
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
    const auto stores = static_cast<kernels::Stores>(random() % 3);
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

TEST_CASE("what is not a number stays in minimum and maximum, whichever rank has it") {
  for (const DType dtype : {DType::f16, DType::bf16, DType::f32, DType::f64}) {
    with_type(dtype, [&](auto element) {
      using T = decltype(element);
      for (const ReduceOp op : {ReduceOp::min, ReduceOp::max}) {
        for (const std::size_t ranks : {2U, 3U, 5U, 9U}) {
          for (std::size_t who = 0; who < ranks; ++who) {
            constexpr std::int64_t kCount = 67;
            std::vector<std::vector<T>> values(ranks);
            std::vector<const void*> sources;
            for (std::size_t r = 0; r < ranks; ++r) {
              values[r].assign(kCount, T(static_cast<float>(r)));
              if (r == who) values[r][who] = T(std::numeric_limits<float>::quiet_NaN());
              sources.push_back(values[r].data());
            }
            std::vector<T> out(kCount);
            ReduceSpec spec;
            spec.dtype = dtype;
            spec.op = op;
            kernels::reduce(spec, sources, static_cast<void*>(out.data()), kCount);
            REQUIRE(std::isnan(static_cast<float>(out[who])));
            REQUIRE_FALSE(std::isnan(static_cast<float>(out[kCount - 1])));
            std::vector<T> chain = values[0];
            for (std::size_t r = 1; r < ranks; ++r) {
              kernels::combine(dtype, op, chain.data(), sources[r], kCount);
            }
            REQUIRE(std::isnan(static_cast<float>(chain[who])));
          }
        }
      }
    });
  }
}

#if defined(__SSE__)
TEST_CASE("denormals do not depend on what the calling thread has set") {
  const unsigned before = _mm_getcsr();
  const float tiny = 1e-40F;
  const std::vector<float> values(100, tiny);
  const std::vector<const void*> sources = {values.data(), values.data()};
  std::vector<float> sums[2] = {std::vector<float>(100), std::vector<float>(100)};
  std::vector<Float16> halves[2] = {std::vector<Float16>(100), std::vector<Float16>(100)};
  const std::vector<float> small(100, 3e-5F);  // subnormal as fp16
  for (const int flushes : {0, 1}) {
    _mm_setcsr(flushes != 0 ? before | 0x8040U : before);
    const unsigned set = _mm_getcsr();
    kernels::reduce(ReduceSpec(), sources, static_cast<void*>(sums[flushes].data()), 100);
    kernels::convert(DType::f32, small.data(), DType::f16, halves[flushes].data(), 100);
    CHECK(_mm_getcsr() == set);
  }
  _mm_setcsr(before);
  CHECK(std::memcmp(sums[0].data(), sums[1].data(), 400) == 0);
  CHECK(std::memcmp(halves[0].data(), halves[1].data(), 200) == 0);
  CHECK(static_cast<float>(halves[1][7]) > 2.9e-5F);
  CHECK(sums[1][0] > 0.F);
}
#endif

TEST_CASE("sums of integers wrap around, and scaled ones become the nearest in range") {
  with_type(DType::i8, [](auto) {
    CHECK(reduce_one<std::int8_t>({DType::i8, ReduceOp::sum}, {100, 100}) ==
          static_cast<std::int8_t>(200));
  });
  for (const DType dtype : {DType::u8, DType::i8, DType::i16, DType::i32, DType::i64}) {
    with_type(dtype, [&](auto element) {
      using T = decltype(element);
      if constexpr (std::is_integral_v<T>) {
        constexpr T kHigh = std::numeric_limits<T>::max();
        constexpr T kLow = std::numeric_limits<T>::min();
        ReduceSpec spec{dtype, ReduceOp::sum};
        CHECK(reduce_one<T>(spec, {kHigh, 1}) == kLow);
        spec.postscale = 4;
        CHECK(reduce_one<T>(spec, {static_cast<T>(kHigh / 2), 1}) == kHigh);
        spec.postscale = -4;
        CHECK(reduce_one<T>(spec, {static_cast<T>(kHigh / 2), 1}) == kLow);
        spec.postscale = 1;
        spec.prescale = 1.5;
        CHECK(reduce_one<T>(spec, {kHigh, kHigh}) == kHigh);
      }
    });
  }
}

TEST_CASE("a thread with a small stack can reduce for many ranks") {
  struct Job {
    std::vector<std::vector<std::int64_t>> values =
        std::vector<std::vector<std::int64_t>>(200, std::vector<std::int64_t>(3000, 1));
    std::vector<std::int64_t> out = std::vector<std::int64_t>(3000);
    std::vector<double> scaled = std::vector<double>(3000);
  } job;
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  // The smallest that the system's own thread data leaves room in.
  pthread_attr_setstacksize(&attributes, static_cast<std::size_t>(PTHREAD_STACK_MIN) + (32U << 10));
  pthread_t thread{};
  const auto work = [](void* data) -> void* {
    Job& own = *static_cast<Job*>(data);
    std::vector<const void*> sources;
    for (const auto& each : own.values) sources.push_back(each.data());
    kernels::reduce({DType::i64, ReduceOp::average, 1, 1, 200}, sources,
                    static_cast<void*>(own.out.data()), 3000);
    kernels::reduce({DType::f64, ReduceOp::sum, 0.5}, sources,
                    static_cast<void*>(own.scaled.data()), 3000);
    return nullptr;
  };
  REQUIRE(pthread_create(&thread, &attributes, work, &job) == 0);
  pthread_join(thread, nullptr);
  CHECK(job.out[2999] == 1);
}
