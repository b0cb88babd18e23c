// SPDX-License-Identifier: Apache-2.0
//
// The kernels that pack, unpack, convert and scale, compared with the same loops on the host. Exits
// with 77 without a GPU.
#include <ringleader/collectives/nccl/fusion_kernels.h>
#include <ringleader/collectives/nccl/nccl_backend.h>
#include <ringleader/core/number.h>

#include "../support/catch_runner.h"

#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

#include "../support/catch.h"

using namespace ringleader;
using namespace ringleader::nccl;

namespace {

constexpr cudaStream_t kStream = nullptr;

DevicePort& device() {
  static const std::shared_ptr<DevicePort> port =
      make_cuda_device(std::make_shared<ChosenDevice>(0));
  return *port;
}

template <typename T>
class OnDevice {
 public:
  explicit OnDevice(const std::vector<T>& values)
      : count_(values.size()), memory_(*device().allocate(count_ * sizeof(T))) {
    throw_if_error(device().copy(kStream, memory_.get(), values.data(), count_ * sizeof(T)));
  }
  T* get() const { return reinterpret_cast<T*>(memory_.get()); }
  std::vector<T> values() const {
    std::vector<T> values(count_);
    throw_if_error(device().copy(kStream, values.data(), memory_.get(), count_ * sizeof(T)));
    return values;
  }

 private:
  std::size_t count_;
  std::shared_ptr<std::byte> memory_;
};

/// Distinct and exact in every type: integers up to 120.
template <typename T>
std::vector<T> numbers(std::int64_t count) {
  std::vector<T> values;
  for (std::int64_t i = 0; i < count; ++i) values.push_back(from_double<T>(double(i * 7 % 120)));
  return values;
}

/// Pieces at odd places of a tensor, with gaps between them, some of several tiles.
FusionTable odd_pieces(std::byte* memory, std::int64_t count, DType type) {
  const std::size_t element_bytes = size_of(type);
  std::mt19937 random(11);
  FusionTable table(type);
  table.tile_elements = kTileBytes / 8;
  std::int64_t wire = 0;
  for (std::int64_t begin = 0; begin < count;) {
    begin += static_cast<std::int64_t>(random() % 3);
    const std::int64_t size = std::min<std::int64_t>(
        count - begin,
        static_cast<std::int64_t>(random() % 2 == 0 ? random() % 40 : random() % 30000));
    if (size <= 0) continue;
    table.add(memory + begin * static_cast<std::int64_t>(element_bytes), size, wire);
    begin += size;
    wire += (size + 15) / 16 * 16;
  }
  return table;
}

/// Packs T into W with a factor, and unpacks with a division, which gives the numbers back.
template <typename T, typename W>
void check_there_and_back(DType type, DType wire_type, Scale there, Scale back) {
  constexpr std::int64_t kCount = 200'000;
  const std::vector<T> before = numbers<T>(kCount);
  const OnDevice<T> tensor(before);
  const OnDevice<W> wire(std::vector<W>(2 * kCount));
  auto* const bytes = reinterpret_cast<std::byte*>(tensor.get());
  const FusionTable table = odd_pieces(bytes, kCount, type);

  FusionKernels kernels(kStream);
  REQUIRE(kernels.pack(table, wire.get(), wire_type, there).ok());
  const std::vector<W> packed = wire.values();
  for (const Piece& piece : table.pieces) {
    const std::int64_t first = (piece.memory - bytes) / static_cast<std::int64_t>(sizeof(T));
    bool right = true;
    for (std::int64_t i = 0; i < piece.count; ++i) {
      const double expected = to_double(before[static_cast<std::size_t>(first + i)]) * there.factor;
      right =
          right && to_double(packed[static_cast<std::size_t>(piece.wire_begin + i)]) == expected;
    }
    CHECK(right);
  }
  REQUIRE(device().clear(kStream, tensor.get(), kCount * sizeof(T)).ok());
  REQUIRE(kernels.unpack(table, wire.get(), wire_type, back).ok());
  const std::vector<T> after = tensor.values();
  for (const Piece& piece : table.pieces) {
    const auto first =
        static_cast<std::size_t>((piece.memory - bytes) / static_cast<std::int64_t>(sizeof(T)));
    CHECK(std::memcmp(&after[first], &before[first],
                      static_cast<std::size_t>(piece.count) * sizeof(T)) == 0);
  }
}

}  // namespace

TEST_CASE("tensors of every type are packed and unpacked as they are") {
  check_there_and_back<std::uint8_t, std::uint8_t>(DType::u8, DType::u8, {}, {});
  check_there_and_back<std::int32_t, std::int32_t>(DType::i32, DType::i32, {}, {});
  check_there_and_back<std::int64_t, std::int64_t>(DType::i64, DType::i64, {}, {});
  check_there_and_back<Float16, Float16>(DType::f16, DType::f16, {}, {});
  check_there_and_back<BFloat16, BFloat16>(DType::bf16, DType::bf16, {}, {});
  check_there_and_back<float, float>(DType::f32, DType::f32, {}, {});
  check_there_and_back<double, double>(DType::f64, DType::f64, {}, {});
}

TEST_CASE("they are scaled on the way") {
  check_there_and_back<float, float>(DType::f32, DType::f32, {2.0, 1}, {1.0, 2});
  check_there_and_back<double, double>(DType::f64, DType::f64, {4.0, 1}, {0.5, 2});
  check_there_and_back<Float16, Float16>(DType::f16, DType::f16, {2.0, 1}, {0.5, 1});
}

TEST_CASE("single precision travels in 16 bits") {
  check_there_and_back<float, Float16>(DType::f32, DType::f16, {2.0, 1}, {0.5, 1});
  check_there_and_back<float, BFloat16>(DType::f32, DType::bf16, {1.0, 1}, {1.0, 1});
}

TEST_CASE("integers travel in 64 bits, are divided exactly and come back") {
  // 49 / 49 is 1, though 49 times the nearest number to 1/49 is less.
  check_there_and_back<std::int8_t, std::int64_t>(DType::i8, DType::i64, {49.0, 1}, {1.0, 49});
  check_there_and_back<std::int16_t, std::int64_t>(DType::i16, DType::i64, {49.0, 1}, {1.0, 49});
  check_there_and_back<std::int32_t, std::int64_t>(DType::i32, DType::i64, {49.0, 1}, {1.0, 49});
}

TEST_CASE("neutral elements fill memory") {
  for (const std::int64_t count : {1, 255, 100'001}) {
    const auto memory = device().allocate_neutral(count, DType::f32, ReduceOp::product);
    REQUIRE(memory.ok());
    std::vector<float> values(static_cast<std::size_t>(count));
    REQUIRE(device().copy(kStream, values.data(), memory->get(), values.size() * 4).ok());
    CHECK(values == std::vector<float>(values.size(), 1.F));
  }
}

int main(int argc, char** argv) {
  if (device_count() == 0) {
    std::printf("skipped: there is no GPU here\n");
    return 77;
  }
  return test::run_cases(argc, argv);
}
