// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/nccl/fusion_kernels.h>

#include <ringleader/collectives/nccl/handles.h>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace ringleader::nccl {
namespace {

constexpr int kThreads = 256;

/// Enough blocks to fill the largest chips several times over; a block takes one tile after
/// another.
constexpr std::int64_t kBlocksMax = 2048;

/// The device's types for 16-bit floats are not the host's.
template <typename Visit>
Status with_device_type(DType dtype, Visit visit) {
  switch (dtype) {
    case DType::u8:
      return visit(std::uint8_t{});
    case DType::i8:
      return visit(std::int8_t{});
    case DType::i16:
      return visit(std::int16_t{});
    case DType::i32:
      return visit(std::int32_t{});
    case DType::i64:
      return visit(std::int64_t{});
    case DType::f16:
      return visit(__half{});
    case DType::bf16:
      return visit(__nv_bfloat16{});
    case DType::f32:
      return visit(float{});
    case DType::f64:
      return visit(double{});
  }
  return Status(Code::unsupported, "no kernel for this element type");
}

/// Numbers in which an element is scaled.
template <typename T>
using Wide = std::conditional_t<std::is_integral_v<T>, std::int64_t,
                                std::conditional_t<std::is_same_v<T, double>, double, float>>;

template <typename T>
__device__ Wide<T> widen(T value) {
  return static_cast<Wide<T>>(value);
}

template <typename To, typename From>
__device__ To scaled(From value, Scale scale, bool scales) {
  if constexpr (std::is_same_v<To, From>) {
    if (!scales) return value;
  }
  auto wide = widen(value);
  if (scales) {
    if constexpr (std::is_integral_v<From>) {
      wide /= scale.divisor;
      if (scale.factor != 1.0) {
        wide = static_cast<std::int64_t>(static_cast<double>(wide) * scale.factor);
      }
    } else {
      const double factor = scale.factor / static_cast<double>(scale.divisor);
      wide *= static_cast<decltype(wide)>(factor);
    }
  }
  return static_cast<To>(wide);
}

/// As many elements as fit in 16 bytes of the wider type.
template <typename T, int kCount>
struct alignas(sizeof(T) * kCount) Vector {
  T values[kCount];
};

template <int kCount, typename T>
__device__ bool is_aligned(const T* memory) {
  return reinterpret_cast<std::uintptr_t>(memory) % (sizeof(T) * kCount) == 0;
}

/// to[i] = scaled(from[i]), by all threads of a block together.
template <typename From, typename To>
__device__ void move_tile(const From* from, To* to, std::int64_t count, Scale scale, bool scales) {
  constexpr int kCount =
      16 / static_cast<int>(sizeof(From) > sizeof(To) ? sizeof(From) : sizeof(To));
  const std::int64_t thread = threadIdx.x;
  std::int64_t vectors = 0;
  if (is_aligned<kCount>(from) && is_aligned<kCount>(to)) {
    vectors = count / kCount;
    const auto* const source = reinterpret_cast<const Vector<From, kCount>*>(from);
    auto* const target = reinterpret_cast<Vector<To, kCount>*>(to);
    for (std::int64_t i = thread; i < vectors; i += kThreads) {
      const Vector<From, kCount> in = source[i];
      Vector<To, kCount> out;
#pragma unroll
      for (int k = 0; k < kCount; ++k) out.values[k] = scaled<To>(in.values[k], scale, scales);
      target[i] = out;
    }
  }
  for (std::int64_t i = vectors * kCount + thread; i < count; i += kThreads) {
    to[i] = scaled<To>(from[i], scale, scales);
  }
}

/// The last piece that begins at or before the tile.
__device__ int piece_of(const Piece* pieces, int count, std::int64_t tile) {
  int low = 0;
  int high = count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (pieces[middle].first_tile <= tile ? low : high) = middle;
  }
  return low;
}

/// T: of the tensors, W: of the buffer.
template <typename T, typename W, bool kPacks>
__global__ void __launch_bounds__(kThreads)
    move_pieces(const Piece* pieces, int piece_count, std::int64_t tiles,
                std::int64_t tile_elements, W* wire, Scale scale) {
  const bool scales = scale.factor != 1.0 || scale.divisor != 1;
  for (std::int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const Piece piece = pieces[piece_of(pieces, piece_count, tile)];
    const std::int64_t begin = (tile - piece.first_tile) * tile_elements;
    const std::int64_t left = piece.count - begin;
    const std::int64_t count = left < tile_elements ? left : tile_elements;
    T* const tensor = reinterpret_cast<T*>(piece.memory) + begin;
    W* const place = wire + piece.wire_begin + begin;
    if constexpr (kPacks) {
      move_tile(tensor, place, count, scale, scales);
    } else {
      move_tile(place, tensor, count, scale, scales);
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads) fill_all(T* data, std::int64_t count, T value) {
  const std::int64_t step = std::int64_t{gridDim.x} * kThreads;
  for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    data[i] = value;
  }
}

/// By its own return code: the thread's last error may be somebody else's.
template <typename... Arguments>
Status run(void (*kernel)(Arguments...), std::int64_t blocks, cudaStream_t stream,
           std::type_identity_t<Arguments>... arguments) {
  void* pointers[] = {&arguments...};
  const dim3 grid(static_cast<unsigned>(std::min(blocks, kBlocksMax)));
  return checked(cudaLaunchKernel(kernel, grid, dim3(kThreads), pointers, 0, stream),
                 "cudaLaunchKernel");
}

template <typename T, typename W, bool kPacks>
Status launch(const FusionTable& table, void* wire, Scale scale, cudaStream_t stream) {
  const std::size_t bytes = table.pieces.size() * sizeof(Piece);
  Result<StreamBuffer> pieces = StreamBuffer::allocate(bytes, stream);
  if (!pieces.ok()) return pieces.status();
  RL_CUDA_RETURN_IF_ERROR(
      cudaMemcpyAsync(pieces->get(), table.pieces.data(), bytes, cudaMemcpyHostToDevice, stream));
  return run(move_pieces<T, W, kPacks>, table.tiles, stream,
             static_cast<const Piece*>(pieces->get()), static_cast<int>(table.pieces.size()),
             table.tiles, table.tile_elements, static_cast<W*>(wire), scale);
}

template <typename Kernel>
Status load(Kernel* kernel) {
  cudaFuncAttributes attributes;
  return checked(cudaFuncGetAttributes(&attributes, kernel), "cudaFuncGetAttributes");
}

template <typename T, typename W>
Status load_pair() {
  Status status = load(move_pieces<T, W, true>);
  if (!status.ok()) return status;
  return load(move_pieces<T, W, false>);
}

template <bool kPacks>
Status move(const FusionTable& table, DType tensor, void* wire, DType wire_type, Scale scale,
            cudaStream_t stream) {
  if (table.pieces.empty()) return Status();
  return with_device_type(tensor, [&](auto element) {
    using T = decltype(element);
    if (tensor == wire_type) return launch<T, T, kPacks>(table, wire, scale, stream);
    if constexpr (std::is_integral_v<T>) {
      if (wire_type == DType::i64) {
        return launch<T, std::int64_t, kPacks>(table, wire, scale, stream);
      }
    }
    return Status(Code::unsupported, "no kernel converts between these element types");
  });
}

}  // namespace

Status pack(const FusionTable& table, DType tensor, void* wire, DType wire_type, Scale scale,
            cudaStream_t stream) {
  return move<true>(table, tensor, wire, wire_type, scale, stream);
}

Status unpack(const FusionTable& table, DType tensor, const void* wire, DType wire_type,
              Scale scale, cudaStream_t stream) {
  return move<false>(table, tensor, const_cast<void*>(wire), wire_type, scale, stream);
}

Status fill(void* data, std::int64_t count, DType dtype, const void* element, cudaStream_t stream) {
  if (count == 0) return Status();
  return with_device_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    T value;
    std::memcpy(&value, element, sizeof value);
    const std::int64_t blocks = (count + kThreads - 1) / kThreads;
    return run(fill_all<T>, blocks, stream, static_cast<T*>(data), count, value);
  });
}

Status load_kernels() {
  for (int dtype = 0; dtype < kDTypeCount; ++dtype) {
    Status status = with_device_type(static_cast<DType>(dtype), [](auto element) {
      using T = decltype(element);
      const Status loaded = load_pair<T, T>();
      if constexpr (std::is_integral_v<T>) {
        if (loaded.ok()) return load_pair<T, std::int64_t>();
      }
      return loaded;
    });
    if (!status.ok()) return status;
  }
  return Status();
}

}  // namespace ringleader::nccl
