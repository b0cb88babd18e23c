// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/nccl/fusion_kernels.h>

#include <ringleader/collectives/nccl/device_types.cuh>

#include <type_traits>

namespace ringleader::nccl {
namespace {

/// The type in which an element is scaled.
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

/// Elements moved at once: at most as many as fit in 16 bytes of the wider type.
template <typename T, int kCount>
struct alignas(sizeof(T) * kCount) Vector {
  T values[kCount];
};

template <int kCount, typename T>
__device__ bool is_aligned(const T* memory) {
  return reinterpret_cast<std::uintptr_t>(memory) % (sizeof(T) * kCount) == 0;
}

/// to[i] = scaled(from[i]), by all threads of a block together. Each moves as many elements at once
/// as the alignment of both allows, up to kCount.
template <int kCount, typename From, typename To>
__device__ void move_vectors(const From* from, To* to, std::int64_t count, Scale scale,
                             bool scales) {
  if constexpr (kCount > 1) {
    if (!is_aligned<kCount>(from) || !is_aligned<kCount>(to)) {
      return move_vectors<kCount / 2>(from, to, count, scale, scales);
    }
  }
  const std::int64_t thread = threadIdx.x;
  const std::int64_t vectors = count / kCount;
  const auto* const source = reinterpret_cast<const Vector<From, kCount>*>(from);
  auto* const target = reinterpret_cast<Vector<To, kCount>*>(to);
  for (std::int64_t i = thread; i < vectors; i += kThreads) {
    const Vector<From, kCount> in = source[i];
    Vector<To, kCount> out;
#pragma unroll
    for (int k = 0; k < kCount; ++k) out.values[k] = scaled<To>(in.values[k], scale, scales);
    target[i] = out;
  }
  for (std::int64_t i = vectors * kCount + thread; i < count; i += kThreads) {
    to[i] = scaled<To>(from[i], scale, scales);
  }
}

template <typename From, typename To>
__device__ void move_tile(const From* from, To* to, std::int64_t count, Scale scale, bool scales) {
  constexpr std::size_t kBytes = sizeof(From) > sizeof(To) ? sizeof(From) : sizeof(To);
  move_vectors<static_cast<int>(16 / kBytes)>(from, to, count, scale, scales);
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

/// T is the type of the tensors, W that of the buffer.
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

template <typename T, typename W>
Status load_pair() {
  Status status = load(move_pieces<T, W, true>);
  if (!status.ok()) return status;
  return load(move_pieces<T, W, false>);
}

}  // namespace

template <typename T, typename W, bool kPacks>
Status FusionKernels::launch(const FusionTable& table, void* wire, Scale scale) {
  const std::size_t bytes = table.pieces.size() * sizeof(Piece);
  const Result<void*> pieces = table_.at_least(bytes, stream_);
  if (!pieces.ok()) return pieces.status();
  RL_CUDA_RETURN_IF_ERROR(
      cudaMemcpyAsync(*pieces, table.pieces.data(), bytes, cudaMemcpyHostToDevice, stream_));
  return run(move_pieces<T, W, kPacks>, table.tiles, stream_, static_cast<const Piece*>(*pieces),
             static_cast<int>(table.pieces.size()), table.tiles, table.tile_elements,
             static_cast<W*>(wire), scale);
}

template <bool kPacks>
Status FusionKernels::move(const FusionTable& table, void* wire, DType wire_type, Scale scale) {
  if (table.pieces.empty()) return Status();
  return with_device_type(table.type, [&](auto element) {
    using T = decltype(element);
    if (table.type == wire_type) return launch<T, T, kPacks>(table, wire, scale);
    if constexpr (std::is_integral_v<T>) {
      if (wire_type == DType::i64) return launch<T, std::int64_t, kPacks>(table, wire, scale);
    }
    if constexpr (std::is_same_v<T, float>) {
      if (wire_type == DType::f16) return launch<T, __half, kPacks>(table, wire, scale);
      if (wire_type == DType::bf16) return launch<T, __nv_bfloat16, kPacks>(table, wire, scale);
    }
    return Status(Code::unsupported, "no kernel converts between these element types");
  });
}

Status FusionKernels::pack(const FusionTable& table, void* wire, DType wire_type, Scale scale) {
  return move<true>(table, wire, wire_type, scale);
}

Status FusionKernels::unpack(const FusionTable& table, const void* wire, DType wire_type,
                             Scale scale) {
  return move<false>(table, const_cast<void*>(wire), wire_type, scale);
}

Status load_kernels() {
  for (int dtype = 0; dtype < kDTypeCount; ++dtype) {
    Status status = with_device_type(static_cast<DType>(dtype), [](auto element) {
      using T = decltype(element);
      const Status loaded = load_pair<T, T>();
      if constexpr (std::is_integral_v<T>) {
        if (loaded.ok()) return load_pair<T, std::int64_t>();
      }
      if constexpr (std::is_same_v<T, float>) {
        const Status narrow = loaded.ok() ? load_pair<T, __half>() : loaded;
        return narrow.ok() ? load_pair<T, __nv_bfloat16>() : narrow;
      }
      return loaded;
    });
    if (!status.ok()) return status;
  }
  return Status();
}

}  // namespace ringleader::nccl
